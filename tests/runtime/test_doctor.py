"""`edgeinfer doctor` as a user meets it: findings, exit codes, children that crash."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.cli import main as cli
from edgeinfer.cli.doctor import text
from edgeinfer.doctor import CHECKS, Box, Finding, examine
from edgeinfer.doctor.finding import fail, ok, warn
from edgeinfer.doctor.imports import PACKAGES, Package, check, import_remedy, judge, version_of
from edgeinfer.doctor.proof import judge as judge_proofs
from edgeinfer.providers.probe import probe_all

ROOT = Path(__file__).resolve().parents[2]
NUMPY = next(package for package in PACKAGES if package.name == "numpy")
OPENCV = next(package for package in PACKAGES if package.name == "cv2")
RUNTIME = next(package for package in PACKAGES if package.name == "onnxruntime")


def test_a_healthy_box_passes_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "--format", "json"]) == 0
    captured = capsys.readouterr()
    findings = json.loads(captured.out)["findings"]
    assert captured.err == ""
    for finding in findings:
        assert set(finding) == {"check", "verdict", "detail", "remedy"}
        assert finding["verdict"] in ("ok", "warn")
        assert bool(finding["remedy"]) == (finding["verdict"] != "ok"), finding
        assert "could not finish" not in finding["detail"], finding
    checks = {finding["check"] for finding in findings}
    assert {"python", "wheels", "packages", "quota", "provider cpu"} <= checks
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_exit_code_4_and_all_is_printed_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(box: Box) -> Iterator[Finding]:
        yield fail("wheels", "they overlap", "pip uninstall one")

    monkeypatch.setattr("edgeinfer.doctor.CHECKS", {"wheels": broken})
    assert cli.main(["doctor", "--format", "json"]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out)["findings"][0]["verdict"] == "fail"
    assert "What fails: wheels" in captured.err
    assert cli.main(["doctor"]) == 4
    assert "-> pip uninstall one" in capsys.readouterr().out


def test_the_worst_comes_last_and_fits_a_small_screen() -> None:
    findings = [
        fail("wheels", "onnxruntime and onnxruntime-gpu overlap in many a file", "pip uninstall x"),
        ok("python", "3.11"),
        warn("governor", "powersave", "echo performance"),
    ]
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in text(findings, 40).splitlines()]
    assert [line[:4] for line in lines if line[:1].strip()][:3] == ["ok  ", "warn", "fail"]
    assert max(map(len, lines)) <= 40
    assert "      -> echo performance" in lines
    assert lines[-1] == "1 ok, 1 to improve, 1 failed"


def test_a_check_that_fails_itself_is_a_finding_and_the_rest_goes_on() -> None:
    def bad(box: Box) -> Iterator[Finding]:
        raise RuntimeError("planted")

    done: list[int] = []
    checks = {"bad": bad, "good": lambda box: [ok("good", "yes")]}
    found = examine(Box(), checks, done.append)
    assert [(finding.check, finding.verdict) for finding in found] == [
        ("bad", "warn"),
        ("good", "ok"),
    ]
    assert "planted" in found[0].detail
    assert done == [0, 1]
    assert len(CHECKS) > 15


def test_the_floors_are_those_of_pyproject() -> None:
    known = {package.distribution: package.floor for package in PACKAGES}
    base = (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[0]
    declared = dict(re.findall(r'"([a-z0-9-]+)>=([0-9.]+)"', base))
    needed = re.search(r"dependencies = \[(.*?)\]", base, re.DOTALL)
    assert needed is not None
    assert set(re.findall(r'"([a-z0-9-]+)>=', needed[1])) <= set(known)
    assert known == {name: declared[name] for name in known}


def test_versions_are_compared_by_their_numbers() -> None:
    assert version_of("1.9") < version_of("1.23.0rc1") == version_of("1.23") < version_of("1.24.1")
    assert judge(RUNTIME, {"version": "1.22.1"}).verdict == "fail"
    assert "onnxruntime>=1.23" in (judge(RUNTIME, {"version": "1.22.1"}).remedy or "")
    assert judge(RUNTIME, {"version": "1.23.0"}).verdict == "ok"


@pytest.mark.parametrize(
    ("package", "said", "remedy"),
    [
        (OPENCV, "ImportError: numpy.core.multiarray failed to import", "another NumPy"),
        (OPENCV, "ImportError: libGL.so.1: cannot open shared object file", "headless"),
        (RUNTIME, "ImportError: libfoo.so.3: cannot open shared object file", "libfoo.so.3"),
        (RUNTIME, "/lib/libm.so.6: version `GLIBC_2.38' not found", "newer system"),
        (NUMPY, "importing it kills the process (SIGILL)", "OPENBLAS_CORETYPE"),
        (
            OPENCV,
            "ImportError: /usr/lib/libgomp.so.1: cannot allocate memory in static TLS block",
            "LD_PRELOAD=/usr/lib/libgomp.so.1",
        ),
        (NUMPY, "ImportError: something else", "--force-reinstall numpy"),
    ],
)
def test_what_an_import_says_has_a_remedy(package: Package, said: str, remedy: str) -> None:
    finding = judge(package, {"error": said})
    assert finding.verdict == "fail"
    assert remedy in (finding.remedy or "")
    assert remedy in import_remedy(package, said)


def test_missing_packages_come_with_the_command() -> None:
    missing = {"error": "No module", "missing": True}
    assert "edgeinfer[cpu]" in (judge(RUNTIME, missing).remedy or "")
    assert "JetPack" in (judge(RUNTIME, missing, jetson=True).remedy or "")
    verdicts = {package.name: judge(package, missing).verdict for package in PACKAGES}
    assert (verdicts["numpy"], verdicts["av"], verdicts["jinja2"]) == ("fail", "warn", "ok")


@pytest.fixture
def crashing_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find an onnxruntime that kills their process."""
    package = tmp_path / "planted/onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("crashing_runtime")
def test_a_crash_in_an_import_is_a_finding() -> None:
    (finding,) = [found for found in check(Box()) if found.check == "onnxruntime"]
    assert finding.verdict == "fail"
    assert "SIGABRT" in finding.detail


@pytest.mark.usefixtures("crashing_runtime")
def test_a_crash_of_a_provider_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["providers", "--format", "json"]) == 0
    found = {item["name"]: item for item in json.loads(capsys.readouterr().out)["providers"]}
    assert not found["cpu"]["available"]
    assert "SIGABRT" in found["cpu"]["reason"]


def test_a_plugin_whose_library_does_not_load_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "planted/onnxruntime_qnn"
    package.mkdir(parents=True)
    (package / "plugin.so").write_text("this is no library")
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        "def get_ep_name(): return 'QNNExecutionProvider'\n"
        "def get_library_path(): return str(Path(__file__).with_name('plugin.so'))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    (found,) = [f for f in judge_proofs(Box(), probe_all()) if f.check == "provider qnn"]
    assert (found.verdict, "library" in found.detail) == ("fail", True)
    assert found.remedy


def test_providers_are_shown_with_what_serves_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["providers"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^cpu +yes +\w+ [\d.]+ +cpu$", out, re.MULTILINE), out
    assert re.search(r"^cuda: .*onnxruntime", out, re.MULTILINE), out


def proof(
    name: str, reason: str | None, installed: bool = True, started: bool = True
) -> dict[str, Any]:
    return {
        "name": name,
        "available": reason is None,
        "reason": reason,
        "installed": installed,
        "started": started,
        "version": "onnxruntime 1.31.1",
        "versions": {},
        "devices": [name],
    }


GPU = {
    "sys/bus/pci/devices/0/class": "0x030000",
    "sys/bus/pci/devices/0/vendor": "0x10de",
    "sys/module/nvidia/version": "580.65.06",
}


def test_proofs_are_judged_by_what_the_box_has(tmp_path: Path) -> None:
    def verdicts(*proofs: dict[str, Any]) -> dict[str, str]:
        return {f.check: f.verdict for f in judge_proofs(Box(root=tmp_path), list(proofs))}

    broken = proof("cuda", "libcublasLt.so.13: cannot open shared object file")
    absent = proof("cuda", "built without it", installed=False)
    fine = proof("cpu", None)
    assert verdicts(fine, absent) == {"provider cpu": "ok", "providers": "ok"}
    assert verdicts(proof("cpu", "it computes wrongly")) == {"provider cpu": "fail"}
    assert verdicts(fine, broken) == {"provider cpu": "ok", "provider cuda": "warn"}
    assert verdicts(proof("openvino", "crash")) == {"provider openvino": "fail"}
    nowhere = proof("qnn", "it finds no device on this box", started=False)
    damaged = proof("qnn", "its library does not load: bad ELF header", started=False)
    assert verdicts(nowhere) == {"provider qnn": "warn"}
    assert verdicts(damaged) == {"provider qnn": "fail"}
    for name, content in GPU.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert verdicts(broken) == {"provider cuda": "fail"}
    assert verdicts(fine, proof("cuda", None), proof("tensorrt", "no libnvinfer")) == {
        "provider cpu": "ok",
        "provider cuda": "ok",
        "provider tensorrt": "warn",
    }
    idle = [f for f in judge_proofs(Box(root=tmp_path), [fine, absent]) if f.verdict == "warn"]
    assert "stays idle" in idle[0].detail
    assert "onnxruntime-gpu" in (idle[0].remedy or "")
