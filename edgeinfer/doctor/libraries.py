"""CUDA, cuDNN, TensorRT: where the loader finds them, and their versions.

A library is asked for its version in a child process; here it is never loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.doctor.box import Box, whole
from edgeinfer.doctor.finding import Finding, ok, warn
from edgeinfer.doctor.hardware import gpus
from edgeinfer.machine import nvidia_driver
from edgeinfer.records import dataclass

_CHILD = Path(__file__).with_name("library_child.py")
_TIMEOUT_S = 60.0
_STANDARD = ("lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib", "usr/lib/wsl/lib",
             "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu",
             "usr/lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu/nvidia",
             "usr/lib/aarch64-linux-gnu/tegra")  # fmt: skip
# Where installers put them; the loader looks there only when told to.
_APART = ("usr/local/cuda*/lib64", "usr/local/cuda*/targets/*/lib", "opt/tensorrt/lib")
# Where wheels put them; ONNX Runtime's preload_dlls and TensorRT's own package look there.
_IN_WHEELS = ("nvidia/*/lib", "tensorrt_libs", "tensorrt_rtx_libs")


@dataclass(frozen=True)
class Library:
    """A library and how it tells its version.

    Attributes:
        pattern: file names.
        symbol: the function.
        by_pointer: whether it writes the number through a pointer, instead of returning it.
        wheel: what brings it.
    """

    name: str
    pattern: str
    symbol: str
    by_pointer: bool
    wheel: str


LIBRARIES = (
    Library("CUDA driver", "libcuda.so.1", "cuDriverGetVersion", True, "the driver"),
    Library("CUDA", "libcudart.so.[0-9]*", "cudaRuntimeGetVersion", True, "CUDA's packages"),
    Library("cuDNN", "libcudnn.so.[0-9]*", "cudnnGetVersion", False, "cuDNN's packages"),
    Library("TensorRT", "libnvinfer.so.[0-9]*", "getInferLibVersion", False, "TensorRT's packages"),
)


def check(box: Box) -> Iterator[Finding]:
    """Versions of what is found; what the loader cannot find although it is there."""
    versions: dict[str, tuple[int, ...]] = {}
    seen = False
    for library in LIBRARIES:
        path, where = find(box, library)
        if path is None:
            continue
        seen = True
        version, error = ask(library, path)
        shown = ".".join(map(str, version)) if version else "of unknown version"
        if error is not None:
            yield warn(
                "libraries",
                f"{library.name} in {box.shown(path)} does not load: {error}",
                f"install {library.wheel} anew, all of one release",
            )
        elif where == "apart":
            folder = box.shown(path.parent)
            yield warn(
                "libraries",
                f"{library.name} {shown} lies in {folder}, where the loader does not look",
                f"echo {folder} | sudo tee /etc/ld.so.conf.d/edge.conf && sudo ldconfig, or export "
                f"LD_LIBRARY_PATH={folder}",
            )
        else:
            versions[library.name] = version
            yield ok("libraries", f"{library.name} {shown} ({box.shown(path)})")
    supported, wanted = versions.get("CUDA driver"), versions.get("CUDA")
    if supported and wanted and wanted[0] > supported[0]:
        yield warn(
            "libraries",
            f"CUDA {wanted[0]}.{wanted[1]} is newer than the driver takes ({supported[0]}.x)",
            f"install a newer NVIDIA driver, or packages built for CUDA {supported[0]}",
        )
    if not seen:
        needed = "NVIDIA" in gpus(box) or nvidia_driver(box.root) is not None
        yield ok(
            "libraries",
            "no CUDA, cuDNN or TensorRT"
            + ("" if needed else "; without an NVIDIA GPU none is needed"),
        )


def find(box: Box, library: Library) -> tuple[Path | None, str]:
    """The library and how it is found: ``loader``, ``wheel`` or ``apart`` (not by the loader)."""
    folders = [(folder, "loader") for folder in loader_folders(box)]
    for base in box.paths:
        folders += [(folder, "wheel") for p in _IN_WHEELS for folder in _glob(Path(base), p)]
    folders += [(folder, "apart") for pattern in _APART for folder in box.glob(pattern)]
    for folder, where in folders:
        files = _glob(folder, library.pattern)
        if files:
            return files[0], where
    return None, ""


def loader_folders(box: Box) -> list[Path]:
    """Where ld.so looks, in its order (ld.so(8), ldconfig(8))."""
    told = (box.environment.get("LD_LIBRARY_PATH") or "").split(os.pathsep)
    folders = [box.root / part.lstrip("/") for part in told if part]
    folders += _configured(box, box.root / "etc/ld.so.conf", depth=4)
    folders += [box.root / name for name in _STANDARD]
    return list(dict.fromkeys(folders))


def _configured(box: Box, file: Path, depth: int) -> list[Path]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in (line.partition("#")[0].strip() for line in lines):
        if line.startswith("include ") and depth:
            pattern = line.partition(" ")[2].strip()
            pattern = pattern if pattern.startswith("/") else f"/etc/{pattern}"
            for included in box.glob(pattern.lstrip("/")):
                folders += _configured(box, included, depth - 1)
        elif line.startswith("/"):
            folders.append(box.root / line.lstrip("/"))
    return folders


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def ask(library: Library, path: Path) -> tuple[tuple[int, ...], str | None]:
    """Version of a library, or why it does not load; asked in a child process."""
    from edgeinfer.child import Child

    arguments = [str(path), library.symbol, "pointer" if library.by_pointer else "value"]
    finished = Child(str(_CHILD), arguments).wait(_TIMEOUT_S)
    number = whole(finished.stdout.decode(errors="replace").strip())
    if finished.returncode == 0 and number is not None:
        return decode(library.name, number), None
    if finished.returncode is not None and finished.returncode < 0:
        return (), "loading it kills the process"
    lines = finished.stderr.strip().splitlines()
    return (), (lines[-1] if lines else "it does not answer")[:300]


def decode(name: str, number: int) -> tuple[int, ...]:
    """A version as the library encodes it.

    CUDA: 1000 major + 10 minor. cuDNN from 9 and TensorRT from 10: 10000 major + 100 minor +
    patch; before: 1000 major + 100 minor + patch (cuda_runtime_api.h, cudnn_version.h,
    NvInferVersion.h).
    """
    if name.startswith("CUDA"):
        return number // 1000, number % 1000 // 10
    unit = 10000 if number >= 90000 else 1000
    return number // unit, number % unit // 100, number % 100
