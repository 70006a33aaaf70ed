"""Which installed distribution owns which files, and what of it really lies on the disk."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from edgeinfer.records import dataclass

# Larger files are told apart by their size alone.
_HASHED_BYTES = 1 << 18


@dataclass(frozen=True)
class Entry:
    """A line of a RECORD (PEP 376): what pip wrote. `sha256` is "" where it was not noted."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Wheel:
    """A distribution that owns files of one import folder.

    Attributes:
        base: the folder on Python's path that it lies in.
        files: path below `base` to what the distribution wrote there.
    """

    name: str
    version: str
    base: Path
    files: Mapping[str, Entry]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@functools.lru_cache(maxsize=8)
def wheels(paths: tuple[str, ...], folders: tuple[str, ...]) -> dict[str, list[Wheel]]:
    """The owners of each of these import folders, in the order in which Python looks.

    Args:
        paths: where Python looks for packages.
        folders: import names, such as ``onnxruntime``.
    """
    owners: dict[str, list[Wheel]] = {folder: [] for folder in folders}
    seen: set[str] = set()
    for distribution in metadata.distributions(path=[path or "." for path in paths]):
        record = distribution.read_text("RECORD")
        if not record:
            continue
        base = Path(str(distribution.locate_file(""))).resolve()
        name, version = distribution.metadata["Name"] or "", distribution.version
        if not name or f"{base}/{name}" in seen:
            continue
        seen.add(f"{base}/{name}")
        for folder in folders:
            if record.startswith(f"{folder}/") or f"\n{folder}/" in record:
                files = _files(record, folder)
                if files:
                    owners[folder].append(Wheel(name, version, base, files))
    return owners


def _files(record: str, folder: str) -> dict[str, Entry]:
    files = {}
    for line in record.splitlines():
        if not line.startswith(f"{folder}/") or "__pycache__" in line:
            continue
        path, _, rest = line.rpartition(",sha256=")
        sha256, _, size = rest.partition(",")
        if path and size.isdigit():
            files[path] = Entry(sha256, int(size))
    return files


def intact(base: Path, path: str, entry: Entry) -> bool:
    """Whether the file on the disk is what the distribution wrote."""
    file = base / path
    try:
        if file.stat().st_size != entry.size:
            return False
        return entry.size > _HASHED_BYTES or _sha256(file) == entry.sha256
    except OSError:
        return False


def _sha256(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Overlap:
    """Several distributions wrote the same files.

    Attributes:
        shared: how many files more than one of them owns.
        theirs: of the shared files in which they differ: whose content is on the disk, by name.
        nobodys: how many shared files are missing or hold something else.
        leftover: files that only one of those whose content did not win wrote, and that are there.
    """

    shared: int
    theirs: Mapping[str, int]
    nobodys: int
    leftover: int

    @property
    def mixed(self) -> bool:
        """Whether what is on the disk is no single distribution's."""
        winners = sum(count > 0 for count in self.theirs.values())
        return self.nobodys > 0 or winners > 1


def overlap(owners: Iterable[Wheel]) -> Overlap | None:
    """What became of files that several distributions in one folder own; None if there are none."""
    listed = list(owners)
    by_path: dict[str, list[Wheel]] = {}
    for wheel in listed:
        for path in wheel.files:
            by_path.setdefault(path, []).append(wheel)
    shared = {path: both for path, both in by_path.items() if len(both) > 1}
    if not shared:
        return None
    theirs = {wheel.name: 0 for wheel in listed}
    nobodys = 0
    for path, both in shared.items():
        if len({wheel.files[path] for wheel in both}) == 1:
            nobodys += not intact(both[0].base, path, both[0].files[path])
            continue
        found = [wheel for wheel in both if intact(wheel.base, path, wheel.files[path])]
        for wheel in found:
            theirs[wheel.name] += 1
        nobodys += not found
    won = max(theirs, key=lambda name: theirs[name])
    leftover = sum(
        (both[0].base / path).exists()
        for path, both in by_path.items()
        if len(both) == 1 and both[0].name != won
    )
    return Overlap(len(shared), theirs, nobodys, leftover)
