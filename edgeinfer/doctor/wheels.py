"""Distributions that share an import folder: found by the files that they own, not by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok, warn
from edgeinfer.doctor.records import Wheel, intact, overlap, wheels

# Import folders that several distributions are known to write into, and what reads them.
FOLDERS = ("onnxruntime", "cv2", "openvino", "numpy", "onnx", "av")
_NAME = "wheels"


def check(box: Box) -> Iterator[Finding]:
    """Overlapping, damaged and hidden copies of the packages that edgeinfer stands on."""
    found = list(_problems(box))
    yield from found
    if not found:
        owners = wheels(box.paths, FOLDERS).values()
        names = [str(wheel) for owned in owners for wheel in owned]
        yield ok(_NAME, f"no two share files, none is damaged: {', '.join(names) or 'none'}")


def _problems(box: Box) -> Iterator[Finding]:
    for folder, owners in wheels(box.paths, FOLDERS).items():
        places = list(dict.fromkeys(wheel.base for wheel in owners))
        for base in places:
            here = [wheel for wheel in owners if wheel.base == base]
            if len(here) > 1:
                yield from _overlapping(folder, here)
            else:
                yield from _damaged(folder, here[0])
        if len(places) > 1:
            yield _hidden(folder, owners, places)


def _overlapping(folder: str, owners: Sequence[Wheel]) -> Iterator[Finding]:
    both = overlap(owners)
    if both is None:
        return
    names = [wheel.name for wheel in owners]
    on_disk = [f"{count} of {name}" for name, count in both.theirs.items() if count]
    on_disk += [f"{both.nobodys} of neither (or none)"] if both.nobodys else []
    on_disk += [f"{both.leftover} left over from the other"] if both.leftover else []
    detail = (
        f"{' and '.join(str(wheel) for wheel in owners)} overlap: {both.shared} files of "
        f"{folder}/ belong to each; where they differ, the disk holds "
        f"{', '.join(on_disk) or 'nothing'}{': a mix' if both.mixed else ''}"
    )
    keep = _keep(folder, names)
    remedy = (
        f"pip uninstall -y {' '.join(names)} && pip install {keep} (choose the one that this "
        f"box needs; never both)"
    )
    if folder != "cv2" or both.mixed:
        yield fail(_NAME, detail, remedy)
    else:
        yield warn(_NAME, detail, remedy)


def _keep(folder: str, names: Sequence[str]) -> str:
    """The one that was most likely meant: the special wheel, or the OpenCV that needs no screen."""
    if folder == "cv2":
        return next((name for name in names if "headless" in name), names[0])
    return max(names, key=len)


def _damaged(folder: str, wheel: Wheel) -> Iterator[Finding]:
    bad = [path for path, entry in wheel.files.items() if not intact(wheel.base, path, entry)]
    if not bad:
        return
    missing = [path for path in bad if not (wheel.base / path).exists()]
    detail = (
        f"{len(bad)} of {len(wheel.files)} files of {wheel} in {wheel.base / folder} are not what "
        f"it installed ({len(missing)} missing; {bad[0]}, say): an overlapping wheel was removed, "
        f"or files were edited"
    )
    remedy = f"pip install --force-reinstall --no-deps {wheel.name}=={wheel.version}"
    if missing or any(".so" in Path(path).name for path in bad):
        yield fail(_NAME, detail, remedy)
    else:
        yield warn(_NAME, detail, remedy)


def _hidden(folder: str, owners: Sequence[Wheel], places: Sequence[Path]) -> Finding:
    used = next(wheel for wheel in owners if wheel.base == places[0])
    rest = [f"{wheel} in {wheel.base}" for wheel in owners if wheel.base != places[0]]
    return warn(
        _NAME,
        f"{folder} is installed more than once: {used} in {used.base} is used, "
        f"{', '.join(rest)} is hidden by it",
        "remove the copy that you do not mean with that Python's own pip, so that no change of "
        "path swaps them",
    )
