"""Several files that appear together or not at all.

They are written under their final names in a folder beside the output, then renamed one after the
other; the last rename decides. Who was killed leaves that folder behind, and the next export into
the same place removes it: a lock that ends with its process tells a dead one's from a living one's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeinfer.errors import SinkError
from edgeinfer.files import TEMP_PREFIX, check_writable, sync_folder
from edgeinfer.golden import golden_path
from edgeinfer.scratch import place

# Where each lies and where it goes; the one that decides last: of a model its graph.
Files = Sequence[tuple[Path, Path]]
PREFIX = f"{TEMP_PREFIX}export-"
SCRATCH_PREFIX = "edgeinfer-export-scratch-"
# What a folder's name ends in until it is locked, and how long that takes at most.
_UNLOCKED, _UNLOCKED_FOR_S = ".new", 5.0
# As `write_model` names tensors beside a graph.
_DATA = re.compile(r"\.[0-9a-f]{12}\.data$")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def staged(output: Path) -> Iterator[Path]:
    """An empty folder on the same disk as the output; it is gone when the block ends.

    Raises:
        SinkError: if nothing can be written there, or the disk is full.
    """
    check_writable(output)
    with room_for(output), _folder(output.parent, PREFIX) as inside:
        yield inside


@contextlib.contextmanager
def scratch(output: Path) -> Iterator[Path]:
    """An empty folder among the temporary ones, for what is needed on the way to the output.

    Raises:
        SinkError: if a disk is full meanwhile.
    """
    with room_for(output), _folder(Path(place()), SCRATCH_PREFIX) as inside:
        yield inside


@contextlib.contextmanager
def throwaway() -> Iterator[Path]:
    """An empty folder among the temporary ones, for one step."""
    with _folder(Path(place()), SCRATCH_PREFIX) as inside:
        yield inside


@contextlib.contextmanager
def _folder(where: Path, prefix: str) -> Iterator[Path]:
    collect(where, prefix)
    try:
        unlocked = Path(tempfile.mkdtemp(prefix=prefix, suffix=_UNLOCKED, dir=where))
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise SinkError(
            f"Nothing can be written in {where}: {error.strerror or error}. Choose another place."
        ) from error
    handle = os.open(unlocked, os.O_RDONLY)
    inside = unlocked.with_name(unlocked.name.removesuffix(_UNLOCKED))
    try:
        # Where a file system knows no locks, what the dead leave there stays.
        with contextlib.suppress(OSError):
            _lock(handle)
        unlocked.rename(inside)
        yield inside
    finally:
        for folder in (inside, unlocked):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def room_for(output: Path) -> Iterator[None]:
    """Say in the user's words that a disk is full while `output` is made.

    Raises:
        SinkError: naming the folder that has no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM and error.filename != str(output.parent):
            raise
        # A failed write does not say where: it was where there is least room.
        where = min(output.parent, Path(place()), key=_free_bytes)
        raise SinkError(
            f"Cannot write {output}: {error.strerror or error} (in {where.resolve()}). An export "
            f"needs about four times the size of the model; free that much there, or choose "
            f"another place"
            f"{' (TMPDIR)' if where != output.parent else ''}. An older file was left as it was."
        ) from error


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def collect(folder: Path, prefix: str) -> None:
    """Remove what killed exports left in a folder."""
    with contextlib.suppress(OSError):
        for left in folder.glob(f"{prefix}*"):
            _remove_dead(left)


def _remove_dead(left: Path) -> None:
    with contextlib.suppress(OSError):
        if left.is_symlink() or left.stat().st_uid != os.geteuid():
            return
        young = time.time() - left.stat().st_mtime < _UNLOCKED_FOR_S
        if young and left.name.endswith(_UNLOCKED):
            return
        handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(handle)
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(handle)


def _lock(handle: int) -> None:
    """Take the lock of a folder.

    Raises:
        OSError: if a living process has it.
    """
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def publish_models(models: Sequence[Files], more: Files = ()) -> None:
    """Publish models, each with what lies beside it, as one; what belonged to older ones goes.

    Args:
        more: files that tell of the models; the last of them decides.

    Raises:
        OSError: if one cannot be renamed.
    """
    publish([*(pair for files in models for pair in files), *more])
    for files in models:
        forget_older(files[-1][1], [target.name for _, target in files])


def publish(files: Files) -> None:
    """Rename files to where they belong, the one that decides last.

    Whatever goes wrong on the way, the older files are back when the exception arrives. Only a
    kill between two renames (a few microseconds) can leave new files beside an old last one; so
    the last one is what others are checked against by hash.

    Args:
        files: each in the file system that it goes to.

    Raises:
        OSError: if one cannot be renamed.
    """
    for made, _ in files:
        with made.open("rb+") as file:
            os.fsync(file.fileno())
    kept = [(target, _second_name(target, made)) for made, target in files[:-1]]
    try:
        for made, target in files:
            made.replace(target)
    except BaseException:
        if files[-1][0].exists():  # the last one was not renamed
            for (made, target), (_, old) in zip(files[:-1], kept, strict=True):
                if not made.exists():
                    _restore(target, old)
        raise
    for folder in dict.fromkeys(target.parent for _, target in files):
        sync_folder(folder)


def _second_name(target: Path, made: Path) -> Path | None:
    """Another name for the older file, None where there is none."""
    if not target.exists():
        return None
    old = made.with_name(f"{made.name}.old")
    try:
        os.link(target, old)
    except OSError:  # no hard links on this file system
        shutil.copy2(target, old)
    return old


def _restore(target: Path, old: Path | None) -> None:
    if old is None:
        target.unlink(missing_ok=True)
    else:
        old.replace(target)


def forget_older(output: Path, published: Sequence[str]) -> None:
    """Remove what belonged to an older file at the same path and nothing reads any more.

    Args:
        published: names of the files that are there now.
    """
    for left in output.parent.glob(f"{glob.escape(output.name)}.*.data"):
        if left.name not in published and _DATA.search(left.name):
            left.unlink(missing_ok=True)
    vectors = golden_path(output)
    if vectors.name not in published:
        vectors.unlink(missing_ok=True)
