"""Where artefacts lie: their names, who uses them, how they go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeinfer import cache

MANIFEST = "edgeinfer.artefact.json"
BUILDING, LOCKS, TRASH = "building", "locks", "trash"

_KIND = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME = re.compile(rf"{_KIND.pattern}-[0-9a-f]{{40}}")
_HELD_ELSEWHERE = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)
_WORLD_WRITABLE = 0o002
# Open manifests of the artefacts that this process uses: the shared lock on each ends with it.
_held: dict[Path, int] = {}
_guard = threading.Lock()


class Refused(Exception):
    """The cache cannot be used; the text says why."""


def home() -> Path:
    """The folder of all compiled artefacts."""
    return Path(cache.place("compiled"))


def name_of(kind: str, key: Mapping[str, str]) -> str:
    """The folder name that stands for this kind and key and nothing else."""
    if not _KIND.fullmatch(kind):
        raise ValueError(f"a kind is named by small letters, digits and hyphens, not {kind!r}")
    pairs = sorted((str(name), str(value)) for name, value in key.items())
    return f"{kind}-{cache.key_of(kind, *(part for pair in pairs for part in pair))}"


def is_name(text: str) -> bool:
    """Whether a file name is one that `name_of` makes."""
    return _NAME.fullmatch(text) is not None


def open_home() -> Path:
    """The folder of all artefacts, made if need be.

    Raises:
        Refused: if anybody may write there.
        OSError: if it cannot be made.
    """
    folder = home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_safe(folder)
    for inner in (BUILDING, LOCKS, TRASH):
        (folder / inner).mkdir(mode=0o700, exist_ok=True)
    return folder


def check_safe(folder: Path) -> None:
    """Find out whether others could have put something there: engines are executable code.

    Raises:
        Refused: if anybody may write there.
        OSError: if it is missing.
    """
    if os.stat(folder).st_mode & _WORLD_WRITABLE:
        raise Refused(f"everybody may write to {folder}: run chmod o-w {folder}")


def held() -> tuple[Path, ...]:
    """The artefacts that this process uses."""
    return tuple(_held)


def hold(folder: Path) -> bool:
    """Mark an artefact as used by this process until its end, so that nobody drops it.

    Returns:
        False where it is gone or being dropped.

    Raises:
        OSError: where the file system has no locks.
    """
    path = f"{folder}/{MANIFEST}"
    with _guard:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            ours = _held.get(folder)
            if ours is not None and os.path.sameopenfile(ours, handle):
                os.close(handle)
                return True
            if not _flock(handle, fcntl.LOCK_SH) or not _is_at(handle, path):
                os.close(handle)
                return False
        except BaseException:
            os.close(handle)
            raise
        if ours is not None:
            os.close(ours)  # an artefact that was replaced since
        _held[folder] = handle
        return True


def let_go(folder: Path) -> None:
    """Take the mark of `hold` back."""
    with _guard:
        handle = _held.pop(folder, None)
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Keep others from taking up an artefact; yields whether no process uses it."""
    try:
        handle = os.open(folder / MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield True  # without a manifest nobody can use it
        return
    try:
        yield _flock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def check_locks(folder: Path) -> None:
    """Find out whether the file system has locks at all.

    Raises:
        Refused: if it has none: then nobody can tell a maker that lives from one that died.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _flock(handle, fcntl.LOCK_SH)
    except OSError as error:
        raise Refused(f"the file system of {folder} has no locks ({error.strerror})") from error
    finally:
        os.close(handle)


def discard(path: Path) -> None:
    """Take a folder out of sight by one rename, then delete it; a kill in between leaves trash."""
    target = home() / TRASH / os.urandom(8).hex()
    with contextlib.suppress(FileNotFoundError):
        path.rename(target)
        delete(target)


def delete(path: Path) -> None:
    """Delete a folder or a file as far as that is allowed."""
    import shutil  # what only finds artefacts does not pay for it

    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _flock(handle: int, operation: int) -> bool:
    try:
        fcntl.flock(handle, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_ELSEWHERE:
            return False
        raise
    return True


def _is_at(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False
