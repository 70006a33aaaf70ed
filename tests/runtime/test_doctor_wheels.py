"""Distributions planted as real dist-info folders: overlapping, mixed, damaged, hidden."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgeinfer.doctor import Box, Finding
from edgeinfer.doctor.wheels import check


def install(site: Path, name: str, version: str, files: Mapping[str, str]) -> None:
    """What pip does: files, then their RECORD, over whatever lies there."""
    record = ""
    for path, text in files.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        record += f"{path},sha256={digest.decode().rstrip('=')},{len(text)}\n"
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(record + f"{info.name}/RECORD,,\n")


def runtime(version: str, kind: str = "cpu", **more: str) -> dict[str, str]:
    return {
        "onnxruntime/__init__.py": f"__version__ = '{version}'\n",
        "onnxruntime/capi/state.so": f"library of {kind} {version}",
        "onnxruntime/LICENSE": "the same in all\n",
    } | {f"onnxruntime/capi/{name}.so": text for name, text in more.items()}


def doctor(*sites: Path) -> list[Finding]:
    return list(check(Box(paths=tuple(map(str, sites)))))


def test_one_wheel_is_well(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    (finding,) = doctor(tmp_path)
    assert finding.verdict == "ok"
    assert "onnxruntime 1.31.0" in finding.detail


def test_two_overlapping_runtimes_fail_and_the_winner_is_named(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    install(tmp_path, "onnxruntime-gpu", "1.31.0", runtime("1.31.0", "gpu", cuda="cuda"))
    (finding,) = doctor(tmp_path)
    assert finding.verdict == "fail"
    assert "3 files" in finding.detail
    assert "1 of onnxruntime-gpu" in finding.detail
    assert "a mix" not in finding.detail
    assert "pip uninstall -y" in (finding.remedy or "")
    assert "pip install onnxruntime-gpu" in (finding.remedy or "")


def test_what_is_left_of_the_loser_is_counted(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime-openvino", "1.24.1", runtime("1.24.1", "ov", openvino="ov"))
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    (finding,) = doctor(tmp_path)
    assert "2 of onnxruntime, 1 left over from the other" in finding.detail


def test_a_mix_of_both_is_seen(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    first = (tmp_path / "onnxruntime/__init__.py").read_text()
    install(tmp_path, "onnxruntime-openvino", "1.24.1", runtime("1.24.1"))
    (tmp_path / "onnxruntime/__init__.py").write_text(first)
    (finding,) = doctor(tmp_path)
    assert "1 of onnxruntime," in finding.detail
    assert "1 of onnxruntime-openvino" in finding.detail
    assert "a mix" in finding.detail


def test_what_another_wheel_took_with_it_is_missed(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    (tmp_path / "onnxruntime/capi/state.so").unlink()
    (finding,) = doctor(tmp_path)
    assert finding.verdict == "fail"
    assert "1 missing" in finding.detail
    assert "--force-reinstall --no-deps onnxruntime==1.31.0" in (finding.remedy or "")


def test_an_edited_file_is_a_warning(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    path = tmp_path / "onnxruntime/__init__.py"
    path.write_text(path.read_text().replace("1.31.0", "1.31.1"))
    (finding,) = doctor(tmp_path)
    assert finding.verdict == "warn"


@pytest.mark.parametrize("last", ["opencv-python", "opencv-python-headless"])
def test_two_opencvs_warn_and_the_one_without_a_screen_is_kept(tmp_path: Path, last: str) -> None:
    names = ["opencv-python", "opencv-python-headless"]
    for name in sorted(names, key=lambda item: item == last):
        install(tmp_path, name, "4.12.0.88", {"cv2/cv2.so": name, "cv2/__init__.py": "same"})
    (finding,) = doctor(tmp_path)
    assert finding.verdict == "warn"
    assert f"the disk holds 1 of {last}" in finding.detail
    assert "pip install opencv-python-headless" in (finding.remedy or "")


def test_a_hidden_copy_is_named(tmp_path: Path) -> None:
    install(tmp_path / "own", "onnxruntime", "1.23.2", runtime("1.23.2"))
    install(tmp_path / "system", "onnxruntime-gpu", "1.24.0", runtime("1.24.0"))
    (finding,) = doctor(tmp_path / "own", tmp_path / "system")
    assert finding.verdict == "warn"
    assert f"onnxruntime 1.23.2 in {tmp_path / 'own'} is used" in finding.detail
    assert f"onnxruntime-gpu 1.24.0 in {tmp_path / 'system'}" in finding.detail


def test_plugins_and_strangers_do_not_overlap(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.0", runtime("1.31.0"))
    install(tmp_path, "onnxruntime-ep-openvino", "1.6.0", {"onnxruntime_ep_openvino/a.so": "a"})
    install(tmp_path, "nvidia-cublas", "13.0", {"nvidia/__init__.py": ""})
    install(tmp_path, "nvidia-cudnn", "9.0", {"nvidia/__init__.py": ""})
    (finding,) = doctor(tmp_path)
    assert finding.verdict == "ok"


def test_a_folder_without_packages_is_no_fault(tmp_path: Path) -> None:
    (finding,) = doctor(tmp_path, tmp_path / "missing")
    assert finding.verdict == "ok"
    install(tmp_path, "odd", "1", {})
    shutil.rmtree(next(tmp_path.glob("odd*")))
    assert doctor(tmp_path)[0].verdict == "ok"
