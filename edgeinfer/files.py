"""Files that appear whole or not at all, and streams that replace a good file only when they work.

A temporary file in the same folder is written, flushed, synced and renamed; then the folder is
synced (POSIX rename is atomic; see also "Files are hard", https://danluu.com/file-consistency/).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from collections.abc import Iterator
from io import FileIO, RawIOBase
from pathlib import Path

from edgeinfer.errors import SinkError

TEMP_PREFIX = ".edgeinfer-"


def why_unwritable(path: Path) -> str | None:
    """Say why a file cannot be created at this path, or None if it can.

    Nothing is created or changed: long work is refused before it starts.
    """
    folder = path.parent
    if path.is_dir():
        return f"{path} is a folder; name a file in it"
    if not folder.exists():
        return f"the folder {folder} does not exist; create it first: mkdir -p {folder}"
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} may not be written to; choose another place"
    if _leads_in_a_circle(path):
        return f"{path} is a link that leads in a circle; name the file itself"
    if is_special(path):
        return f"{path} is a device, a pipe or a socket; name a regular file"
    if path.exists() and not os.access(path, os.W_OK):
        return f"{path} may not be written to; choose another name"
    return None


def _leads_in_a_circle(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def is_special(path: Path) -> bool:
    """Whether it is a device, a pipe or a socket: nothing that a rename may replace."""
    return path.exists() and not path.is_file() and not path.is_dir()


def check_writable(path: Path) -> None:
    """Raise unless a file can be created at this path.

    Raises:
        SinkError: with the reason and what to do.
    """
    reason = why_unwritable(path)
    if reason is not None:
        raise SinkError(f"Cannot write {path}: {reason}.")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder that becomes `path` when the block ends well.

    On any exception the temporary file is removed and an older file at `path` stays as it was.

    Raises:
        SinkError: if the folder cannot be written to.
    """
    path = path.resolve()  # what a link points to is replaced, not the link
    check_writable(path)
    temp = temporary(path)
    try:
        temp.touch(exist_ok=False)
        yield temp
        commit(temp, path)
    except OSError as error:
        raise SinkError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temp.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A name beside `path` that nobody has, with the same ending."""
    return path.parent / f"{TEMP_PREFIX}{os.urandom(8).hex()}{path.suffix}"


def commit(temp: Path, path: Path) -> None:
    """Sync `temp`, rename it to `path` and sync the folder."""
    with temp.open("rb+") as file:
        os.fsync(file.fileno())
    temp.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder so that a rename inside it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse to sync folders; the rename itself stands
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        SinkError: if it cannot be written.
    """
    with atomic_path(path) as temp:
        temp.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all.

    Raises:
        SinkError: if it cannot be written.
    """
    # A file's name in it may be none in UTF-8; it is told as messages tell it.
    write_bytes(path, text.encode(errors="backslashreplace"))


def check_kept(handle: int, path: Path) -> None:
    """Raise where a file that still grows is gone: what is written to it would be lost unseen.

    Raises:
        SinkError: if nothing names it any more; one that was only moved is still somebody's.
    """
    if os.fstat(handle).st_nlink == 0:
        raise SinkError(
            f"{path} was removed or replaced by another program while it was written. Give each "
            f"run a file of its own; logrotate wants copytruncate."
        )


def append_line(file: RawIOBase, line: str) -> None:
    """Write one line whole; what a full disk took of it is taken back where that can be.

    Args:
        file: open for writing, without a buffer, at its end.

    Raises:
        OSError: if it cannot be written.
    """
    data, written = memoryview(f"{line}\n".encode()), 0
    try:
        while written < len(data):
            taken = file.write(data[written:])
            if taken is None:  # a pipe that its other end opened without waiting, and is full
                room = select.poll()
                room.register(file, select.POLLOUT)
                room.poll()
            else:
                written += taken
    except OSError:
        status = os.fstat(file.fileno())
        if written and stat.S_ISREG(status.st_mode):
            file.truncate(status.st_size - written)
            file.seek(0, os.SEEK_END)
        raise


class GrowingText:
    """A text file that grows by whole lines and replaces an older file with its first line.

    Until the first line is there, an older file at the same path stays untouched; after it, what
    is in the file is always readable, also after a kill. Somebody else may empty it meanwhile
    (logrotate's copytruncate): it grows from its end.
    """

    def __init__(self, path: Path) -> None:
        # Pipes and devices (/dev/stdout, a FIFO) take lines, too; nothing is replaced there.
        self._direct = is_special(path)
        if not self._direct:
            path = path.resolve()
            check_writable(path)
        self._path = path
        self._file: FileIO | None = None

    def write_line(self, line: str) -> None:
        """Append one line and hand it to the operating system.

        Raises:
            SinkError: if it cannot be written (a full disk, say), or was removed meanwhile.
        """
        try:
            if self._file is None:
                self._file = self._begin(line)
            else:
                if not self._direct:
                    check_kept(self._file.fileno(), self._path)
                append_line(self._file, line)
        except OSError as error:
            raise SinkError(f"Cannot write {self._path}: {error.strerror or error}.") from error

    def _begin(self, line: str) -> FileIO:
        temp = self._path if self._direct else temporary(self._path)
        file = temp.open("ab", buffering=0)
        try:
            append_line(file, line)
            if not self._direct:
                commit(temp, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()
            if not self._direct:
                temp.unlink(missing_ok=True)
            raise
        return file

    def close(self) -> None:
        """Close the file; a second call does nothing.

        Raises:
            SinkError: if what was written last did not reach the file.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            raise SinkError(f"Cannot write {self._path}: {error.strerror or error}.") from error
