"""The packages that edgeinfer stands on: imported in children, where a crash is an answer."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeinfer.child import Child
from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok, warn
from edgeinfer.records import dataclass

_CHILD = Path(__file__).with_name("import_child.py")
_TIMEOUT_S = 60.0
_CPU_EXTRA = "pip install 'edgeinfer[cpu]'"


@dataclass(frozen=True)
class Package:
    """A package and the oldest version of it that is known to work.

    Attributes:
        name: what it is imported as.
        distribution: what pip calls it.
        floor: as in pyproject.toml.
        without: what does not work where it is missing; None where nothing works.
        native: whether importing it loads code that may crash.
        install: the command.
    """

    name: str
    distribution: str
    floor: str
    without: str | None = None
    native: bool = False
    install: str = ""


# A test holds the floors against pyproject.toml's.
PACKAGES = (
    Package("numpy", "numpy", "1.24", native=True),
    Package("onnx", "onnx", "1.17", native=True),
    Package("onnxruntime", "onnxruntime", "1.23", native=True, install=_CPU_EXTRA),
    Package("cv2", "opencv-python-headless", "4.9", native=True, install=_CPU_EXTRA),
    Package("av", "av", "13.1", "annotated video cannot be written", True, _CPU_EXTRA),
    Package("click", "click", "8.1.7"),
    Package("rich", "rich", "13.7"),
    Package("yaml", "pyyaml", "6.0.1"),
    Package("platformdirs", "platformdirs", "4.0"),
    Package("filelock", "filelock", "3.21"),
    Package("jinja2", "jinja2", "3.1.3", "HTML reports need it", install="edgeinfer[bench]"),
)


def check(box: Box) -> Iterator[Finding]:
    """Import each package and compare its version with the floor; what is well shares a line."""
    children = {
        package.name: Child(str(_CHILD), [package.name]) for package in PACKAGES if package.native
    }
    try:
        yield from _judged(box, children)
    finally:
        for child in children.values():
            child.close()


def _judged(box: Box, children: Mapping[str, Child]) -> Iterator[Finding]:
    jetson = box.text("etc/nv_tegra_release") is not None
    well = []
    for package in PACKAGES:
        if package.native:
            finished = children[package.name].wait(_TIMEOUT_S)
            answer = _answer(finished.returncode, finished.stdout, finished.stderr)
        else:
            answer = _installed(package)
        finding = judge(package, answer, jetson)
        if finding.verdict == "ok":
            well.append(f"{package.name} {finding.detail}")
        else:
            yield finding
        if package.name == "cv2" and answer.get("ffmpeg") is False:
            yield warn(
                "video",
                "this OpenCV is built without FFmpeg: video files and streams may not open",
                "pip install opencv-python-headless, or build OpenCV WITH_FFMPEG=ON",
            )
    if well:
        yield ok("packages", ", ".join(well))


def _installed(package: Package) -> dict[str, Any]:
    if importlib.util.find_spec(package.name) is None:
        return {"error": "it is not installed", "missing": True}
    try:
        return {"version": metadata.version(package.distribution)}
    except metadata.PackageNotFoundError:
        return {"version": ""}


def _answer(code: int | None, stdout: bytes, stderr: str) -> dict[str, Any]:
    if code is None:
        return {"error": f"importing it takes longer than {_TIMEOUT_S:.0f} s"}
    if code < 0:
        return {"error": f"importing it kills the process ({signal.Signals(-code).name})"}
    try:
        answer = json.loads(stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"error": f"importing it ends the process with code {code}: {stderr[-300:]}"}
    return dict(answer) | {"stderr": stderr}


def judge(package: Package, answer: dict[str, Any], jetson: bool = False) -> Finding:
    """Turn what importing gave into a finding."""
    install = package.install or f"pip install '{package.distribution}>={package.floor}'"
    if answer.get("missing"):
        if package.name == "jinja2":
            return ok("jinja2", "not installed (only HTML reports need it: edgeinfer[bench])")
        if jetson and package.name == "onnxruntime":
            install = "install the onnxruntime-gpu wheel that NVIDIA builds for this JetPack"
        if package.without is not None:
            return warn(package.name, f"it is not installed: {package.without}", install)
        return fail(package.name, "it is not installed", install)
    if "error" in answer:
        text = " ".join(f"{answer['error']} {answer.get('stderr', '')}".split())
        return fail(package.name, str(answer["error"])[:400], import_remedy(package, text))
    version = str(answer.get("version", ""))
    if version and version_of(version) < version_of(package.floor):
        return fail(
            package.name,
            f"{version} is older than {package.floor}, the oldest that works",
            f"pip install --upgrade '{package.distribution}>={package.floor}'",
        )
    return ok(package.name, version or "there")


def import_remedy(package: Package, text: str) -> str:
    """What helps against an import that failed with this text."""
    reinstall = f"pip install --force-reinstall {package.distribution}"
    if any(sign in text for sign in ("_ARRAY_API", "multiarray", "compiled using NumPy 1")):
        return (
            f"it was built for another NumPy: pip install --upgrade {package.distribution}; where "
            f"no newer wheel exists, as on JetPack: pip install 'numpy<2'"
        )
    if "static TLS block" in text:
        found = re.search(r"(/\S+\.so[\w.]*)", text)
        return f"load it first: export LD_PRELOAD={found[1] if found else 'the library named'}"
    if package.name == "cv2" and re.search(r"lib(GL|gthread|SM|Xext|Xrender)\b", text):
        return "pip uninstall -y opencv-python && pip install opencv-python-headless"
    if re.search(r"GLIBC(XX)?_[\d.]+' not found", text):
        return "this wheel needs a newer system: install an older version, or upgrade the system"
    found = re.search(r"(lib[\w.+-]+\.so[\d.]*): cannot open shared object", text)
    if found:
        return f"install the library {found[1]} (apt-file search {found[1]} names its package)"
    if "SIGILL" in text:
        return (
            "this processor lacks instructions that the wheel uses: install an older wheel; with "
            "NumPy on ARM try export OPENBLAS_CORETYPE=ARMV8"
        )
    return reinstall


def version_of(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``1.23.0rc1`` is (1, 23)."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
