"""Folders for temporary files, and what to do where the box allows none."""

from __future__ import annotations

import errno
import tempfile

from edgeinfer.errors import EdgeInferError

# Neither `typing` nor `pathlib`: see `providers/headstart`.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """Make an empty one, which ends with the object.

    Raises:
        EdgeInferError: if none can be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise _refused(error) from error


def place() -> str:
    """Where they are made: what TMPDIR names, or one of the system's.

    Raises:
        EdgeInferError: if none of them may be written to.
    """
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> EdgeInferError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return EdgeInferError(f"{error.strerror}: raise the limit (ulimit -n), or close some.")
    remedy = "make room there" if error.errno in _FULL else "let it be written to"
    return EdgeInferError(
        f"No folder for temporary files can be made: {error.strerror}"
        f"{f' ({error.filename})' if error.filename else ''}. Name one that you own in TMPDIR, or "
        f"{remedy}."
    )
