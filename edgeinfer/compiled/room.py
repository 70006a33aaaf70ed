"""Room in the cache: leftovers of killed makers, the bound on bytes, free space on the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.compiled import contents, shelf
from edgeinfer.errors import UsageError
from edgeinfer.records import dataclass

if TYPE_CHECKING:
    from filelock import FileLock

DEFAULT_BOUND = 8 << 30
BOUND_VARIABLE = "EDGEINFER_CACHE_BYTES"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# Left free for everything else on the disk: 2% of it, a gigabyte at most.
_FREE_SHARE = 50
_FREE_MOST = 1 << 30
_bound = DEFAULT_BOUND


@dataclass(frozen=True)
class Artefact:
    """A finished artefact, as a user may want to see it.

    Attributes:
        kind: what made it.
        key: everything that it depends on.
        path: its folder.
        size: in bytes.
        built_ns: how long building it took.
        used_ns: when it was last used, wall clock.
    """

    kind: str
    key: Mapping[str, str]
    path: Path
    size: int
    built_ns: int
    used_ns: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "key": dict(self.key),
            "path": str(self.path),
            "size": self.size,
            "built_ns": self.built_ns,
        }


def bound_of(text: str) -> int:
    """Bytes from what the variable says: ``4000000``, ``500M`` or ``8G`` (powers of 1024).

    Raises:
        UsageError: for anything else.
    """
    digits = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = digits[-1:] if digits[-1:] in "kmgt" else ""
    number = digits.removesuffix(unit)
    if not (number.isascii() and number.isdigit()):
        raise UsageError(
            f"{BOUND_VARIABLE} is '{text}', which is no number of bytes: give 8G, 500M or 4000000, "
            f"say."
        )
    return int(number) * _UNITS[unit]


def set_bound(size: int | None) -> None:
    """Bound what this process leaves in the cache, in bytes; None: the default, 0: nothing."""
    global _bound
    _bound = DEFAULT_BOUND if size is None else size


def bound() -> int:
    """Bytes that all artefacts together may take."""
    return _bound


def artefacts() -> list[Artefact]:
    """Every finished artefact, the least recently used first."""
    found = []
    with contextlib.suppress(OSError):
        for path in shelf.home().iterdir():
            if shelf.is_name(path.name):
                with contextlib.suppress(OSError):
                    found.append(_artefact(path))
    return sorted(found, key=lambda item: (item.used_ns, item.path.name))


def _artefact(path: Path) -> Artefact:
    used = path.stat().st_mtime_ns
    size = sum(item.lstat().st_size for item in path.rglob("*") if not item.is_dir())
    manifest = contents.read_manifest(path)
    key, built = (manifest["key"], manifest["built_ns"]) if manifest is not None else ({}, 0)
    return Artefact(path.name.rpartition("-")[0], key, path, size, built, used)


def clear() -> list[Artefact]:
    """Drop every artefact that no process uses.

    Returns:
        Those that were dropped.
    """
    try:
        shelf.open_home()
        collect()
    except (shelf.Refused, OSError):
        return []
    return [item for item in artefacts() if _drop(item)]


def make_room() -> bool:
    """Drop the least recently used artefacts until the bound and the free space are kept.

    Returns:
        Whether the disk has the free space now.

    Raises:
        OSError: if the cache folder is gone.
    """
    items = artefacts()
    total = sum(item.size for item in items)
    for item in items:
        if total <= _bound and has_space():
            break
        if _drop(item):
            total -= item.size
    return has_space()


def has_space() -> bool:
    """Whether the disk of the cache has the space that is left for everything else."""
    disk = os.statvfs(shelf.home())
    most = min(_FREE_MOST, disk.f_blocks * disk.f_frsize // _FREE_SHARE)
    return disk.f_bavail * disk.f_frsize >= most


def try_lock(name: str) -> FileLock | None:
    """The lock of one artefact's maker, or None while another process (or thread) has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(shelf.home() / shelf.LOCKS / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def unlock(lock: FileLock) -> None:
    """Give a lock back and take its file away; who waits on the old file notices (st_nlink)."""
    with contextlib.suppress(OSError):
        os.unlink(lock.lock_file)
    with contextlib.suppress(OSError):
        lock.release()


def collect() -> None:
    """Delete what killed makers left behind.

    Raises:
        OSError: if the cache folder is gone or read-only.
    """
    folder = shelf.home()
    building, locks, trash = (
        os.listdir(f"{folder}/{inner}") for inner in (shelf.BUILDING, shelf.LOCKS, shelf.TRASH)
    )
    for name in {*building, *(name.removesuffix(".lock") for name in locks)}:
        lock = try_lock(name)
        if lock is None:
            continue
        try:
            shelf.discard(folder / shelf.BUILDING / name)
        finally:
            unlock(lock)
    for name in trash:
        shelf.delete(folder / shelf.TRASH / name)


def _drop(item: Artefact) -> bool:
    """Drop an artefact unless a process uses it or makes it anew."""
    with contextlib.suppress(OSError):
        lock = try_lock(item.path.name)
        if lock is None:
            return False
        try:
            with shelf.unused(item.path) as free:
                if free:
                    shelf.discard(item.path)
                return free
        finally:
            unlock(lock)
    return False
