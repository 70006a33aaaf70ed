"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer import cache

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "realdata"
# A test may be skipped for these reasons only; any other skip fails the run.
_EXPECTED_SKIPS = ("real models and pictures are not at",)
_unexpected: list[str] = []


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real models and pictures; tests that use it carry the marker `realdata`."""
    folder = Path(os.environ.get("EDGEINFER_REALDATA", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"real models and pictures are not at {folder} (EDGEINFER_REALDATA)")
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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note skips that nobody expects."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        if not any(expected in reason for expected in _EXPECTED_SKIPS):
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """An unexpected skip fails the run."""
    if _unexpected:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skips that nobody expects."""
    for line in _unexpected:
        terminalreporter.write_line(f"unexpected skip: {line}", red=True)
