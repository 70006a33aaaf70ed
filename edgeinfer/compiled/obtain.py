"""Find an artefact, or make it while every other process waits."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.compiled import contents, room, shelf
from edgeinfer.files import sync_folder
from edgeinfer.timing import format_ns, now_ns

if TYPE_CHECKING:
    from filelock import FileLock

Say = Callable[[str], None]

DEFAULT_WAIT_S = 900.0
_POLL_S = (0.01, 0.25)
_SAY_EVERY_S = 10.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_PROBE = 1 << 20


def silent(text: str) -> None:
    """Say nothing: for libraries, and for artefacts that are made in no time."""


_teller: Say = silent
_listening: list[list[str]] = []


def set_teller(say: Say) -> None:
    """Name what tells the user of this process about long builds; nothing does by default."""
    global _teller
    _teller = say


def tell(text: str) -> None:
    """Say something to the user of this process, where somebody listens."""
    _teller(text)


@contextlib.contextmanager
def refusals() -> Iterator[list[str]]:
    """Yields a list that grows by what the cache does not take inside the block, and why."""
    heard: list[str] = []
    _listening.append(heard)
    try:
        yield heard
    finally:
        _listening[:] = [item for item in _listening if item is not heard]


def find(kind: str, key: Mapping[str, str]) -> Path | None:
    """The folder of a finished, undamaged artefact; nothing is built, leftovers are collected.

    It stays until this process ends, whatever the bound says.

    Args:
        kind: what it is: small letters, digits, hyphens.
        key: everything that it depends on, by name.
    """
    with contextlib.suppress(OSError, shelf.Refused):
        shelf.check_safe(shelf.home())
        name = shelf.name_of(kind, key)
        with contextlib.suppress(OSError):  # a read-only cache gives what is in it
            room.collect()
        return _take(name, key)
    return None


def drop(kind: str, key: Mapping[str, str]) -> None:
    """Drop a finished artefact that turned out to be of no use, if it is there."""
    folder = shelf.home() / shelf.name_of(kind, key)
    shelf.let_go(folder)
    with contextlib.suppress(OSError):
        shelf.discard(folder)


def obtain(
    kind: str,
    key: Mapping[str, str],
    build: Callable[[Path], None],
    *,
    say: Say | None = None,
    wait_s: float = DEFAULT_WAIT_S,
) -> Path | None:
    """The folder of a finished artefact, built if there is none.

    One process builds, the others wait for it. What `build` raises passes through, and nothing is
    left behind.

    Args:
        kind: what it is: small letters, digits, hyphens.
        key: everything that it depends on, by name: model hash, options, shapes, versions, device.
        build: writes the artefact's files into the empty folder that it is given.
        say: told, one line at a time, that something is built, waited for or not cached, and why;
            None for what `set_teller` named.
        wait_s: how long to wait for another process that builds it.

    Returns:
        The folder, which stays until this process ends; None where the cache refuses (full,
        read-only, no locks) or the wait was too long: go on without it.
    """
    found = find(kind, key)
    if found is not None:
        return found
    tell = say or _teller
    name = shelf.name_of(kind, key)
    if room.bound() == 0:
        _refuse(kind, "its bound is 0 bytes", tell)
        return None
    try:
        shelf.check_locks(shelf.open_home())
        lock = _lock(name, kind, key, tell, wait_s)
        if isinstance(lock, Path):
            return lock
    except (OSError, shelf.Refused) as error:
        _refuse(kind, _reason(error), tell)
        return None
    try:
        return _build(name, kind, key, build, tell)
    finally:
        with contextlib.suppress(OSError):
            shelf.discard(shelf.home() / shelf.BUILDING / name)
        room.unlock(lock)


def _take(name: str, key: Mapping[str, str]) -> Path | None:
    """The artefact, marked as used, or None where there is no undamaged one."""
    folder = shelf.home() / name
    if not shelf.hold(folder):
        return None
    if not contents.is_undamaged(folder, key):
        shelf.let_go(folder)
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


def _lock(
    name: str, kind: str, key: Mapping[str, str], tell: Say, wait_s: float
) -> FileLock | Path:
    """The maker's lock, or the artefact that another process made meanwhile.

    Raises:
        Refused: when the wait was too long.
        OSError: if the cache refuses.
    """
    started = now_ns()
    pause, said = _POLL_S[0], 0.0
    seen = _identity(name)
    while True:
        lock = room.try_lock(name)
        identity = _identity(name)
        if lock is not None or identity != seen:
            # A damaged artefact is hashed again only when another one has taken its place.
            seen = identity
            try:
                found = _take(name, key)
            except BaseException:
                if lock is not None:
                    room.unlock(lock)
                raise
            if found is not None:
                if lock is not None:
                    room.unlock(lock)
                return found
        if lock is not None:
            return lock
        waited = (now_ns() - started) / 1e9
        if waited >= wait_s:
            raise shelf.Refused(f"another process has been building it for {waited:.0f} s")
        if waited - said >= _SAY_EVERY_S or (said == 0 and waited >= 1):
            said = waited
            tell(f"waiting for another process that builds the {kind} artefact ({waited:.0f} s)")
        time.sleep(min(pause, wait_s - waited))
        pause = min(2 * pause, _POLL_S[1])


def _build(
    name: str, kind: str, key: Mapping[str, str], build: Callable[[Path], None], tell: Say
) -> Path | None:
    """Build under the lock, publish by one rename."""
    target = shelf.home() / name
    folder = shelf.home() / shelf.BUILDING / name
    try:
        shelf.discard(target)  # damaged: `_take` refused it
        if not room.make_room():
            raise shelf.Refused(f"the disk of {shelf.home()} is nearly full")
        folder.mkdir(mode=0o700)
    except (OSError, shelf.Refused) as error:
        _refuse(kind, _reason(error), tell)
        return None
    tell(f"building the {kind} artefact; it is kept for the next time")
    started = now_ns()
    try:
        build(folder)
    except Exception as error:
        if not _is_full(error, folder):
            raise
        _refuse(kind, f"the disk of {shelf.home()} is full", tell)
        return None
    took = now_ns() - started
    try:
        contents.seal(folder, kind, key, took)
        folder.rename(target)
        sync_folder(target.parent)
        if not shelf.hold(target):
            raise shelf.Refused("it was dropped at once")
        room.make_room()
    except (OSError, shelf.Refused) as error:
        _refuse(kind, _reason(error), tell)
        return None
    tell(f"built the {kind} artefact in {format_ns(took)}")
    return target


def _refuse(kind: str, reason: str, tell: Say) -> None:
    text = f"the {kind} artefact is not cached: {reason}"
    for heard in _listening:
        heard.append(text)
    tell(text)


def _identity(name: str) -> tuple[int, int] | None:
    try:
        status = (shelf.home() / name).stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether a builder failed because its folder takes no more: runtimes say so in many ways."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    try:
        (folder / "probe").write_bytes(bytes(_PROBE))
    except OSError as probed:
        return probed.errno in _NO_ROOM
    return False


def _reason(error: OSError | shelf.Refused) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or shelf.home()}: {error.strerror or error}"
    return str(error)
