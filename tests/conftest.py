"""What all tests share."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer import cache

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "realdata"
# A test may be skipped for these reasons only; any other skip fails the run. What may be missing
# depends on the environment, which the Makefile names; "" is the one of `make test`.
_ENVIRONMENT = os.environ.get("EDGEINFER_TEST_ENVIRONMENT", "")
_ANYWHERE = (
    "real models and pictures are not at",
    "no qemu-x86_64-static",
    "tool rooms are not asked for",
    "no Chromium on this box",
)
_EXPECTED_SKIPS = {
    "": (
        *_ANYWHERE,
        *("no NVIDIA GPU", "no OpenVINO", "onnxruntime-qnn is not installed"),
        *("no PyTorch", "no TensorFlow here"),
    ),
    "openvino": (*_ANYWHERE, "no NVIDIA GPU", "no OpenVINO device other than the CPU"),
    "plugins": _ANYWHERE,
    "sklearn": (),
    "torch": _ANYWHERE,
    "tensorflow": _ANYWHERE,
    # tests/gpu/setup.sh says what must run; what it leaves open may be missing.
    "gpu": (*_ANYWHERE, "not asked for"),
}
_unexpected: list[str] = []


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real models and pictures; tests that use it carry the marker `realdata`."""
    folder = Path(os.environ.get("EDGEINFER_REALDATA", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"real models and pictures are not at {folder} (EDGEINFER_REALDATA)")
    return folder


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, and a cache of its own."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["EDGEINFER_CACHE"] = str(folder)
    cache.set_root(folder)
    yield
    cache.set_root(None)
    del os.environ["EDGEINFER_CACHE"]


def pytest_configure() -> None:
    """Refuse an environment that nobody described: all its skips would be unexpected."""
    # A shell's background jobs ignore Ctrl-C, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _ENVIRONMENT not in _EXPECTED_SKIPS:
        known = ", ".join(repr(name) for name in _EXPECTED_SKIPS)
        raise pytest.UsageError(f"EDGEINFER_TEST_ENVIRONMENT is {_ENVIRONMENT!r}, not {known}.")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note skips of tests that nobody expects."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _note(report.nodeid, report.longrepr)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note skips of whole files that nobody expects."""
    if report.skipped:
        _note(report.nodeid, report.longrepr)


def _note(name: str, where_and_why: object) -> None:
    reason = str(where_and_why[2]) if isinstance(where_and_why, tuple) else ""
    if not any(expected in reason for expected in _EXPECTED_SKIPS[_ENVIRONMENT]):
        _unexpected.append(f"{name}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """An unexpected skip fails the run."""
    if _unexpected:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skips that nobody expects."""
    for line in _unexpected:
        terminalreporter.write_line(f"unexpected skip: {line}", red=True)
