"""Files that appear whole or not at all, and streams that replace a good file only when they work.

A temporary file in the same folder is written, flushed, synced and renamed; then the folder is
synced (POSIX rename is atomic; see also "Files are hard", https://danluu.com/file-consistency/).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

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
    if path.exists() and not os.access(path, os.W_OK):
        return f"{path} may not be written to; choose another name"
    return None


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
    check_writable(path)
    import tempfile

    handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temp = Path(name)
    try:
        yield temp
        commit(temp, path)
    except OSError as error:
        raise SinkError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temp.unlink(missing_ok=True)


def commit(temp: Path, path: Path) -> None:
    """Sync `temp` and rename it to `path`, with the permissions that a new file would have."""
    with temp.open("rb+") as file:
        os.fsync(file.fileno())
    mask = os.umask(0)
    os.umask(mask)
    temp.chmod(0o666 & ~mask)
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
    write_bytes(path, text.encode())


class GrowingText:
    """A text file that grows by whole lines and replaces an older file with its first line.

    Until the first line is there, an older file at the same path stays untouched; after it, what
    is in the file is always readable, also after a kill.
    """

    def __init__(self, path: Path) -> None:
        check_writable(path)
        self._path = path
        self._file: IO[str] | None = None

    def write_line(self, line: str) -> None:
        """Append one line and hand it to the operating system.

        Raises:
            SinkError: if it cannot be written (a full disk, say).
        """
        import tempfile

        try:
            if self._file is None:
                handle, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=self._path.parent)
                self._file = os.fdopen(handle, "w", encoding="utf-8")
                self._file.write(line + "\n")
                self._file.flush()
                commit(Path(name), self._path)
            else:
                self._file.write(line + "\n")
                self._file.flush()
        except OSError as error:
            raise SinkError(f"Cannot write {self._path}: {error.strerror or error}.") from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
