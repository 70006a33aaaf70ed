"""Arrays by name out of an `.npz`, which anybody may have made."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from edgeinfer.frames import Array

# What one may unpack to: a few kilobytes of zip can claim any size.
_UNPACKED_LIMIT = 2 << 30


def read_npz(path: Path) -> dict[str, Array]:
    """Everything in it; nothing is ever unpickled.

    Raises:
        ValueError: with the reason, if it is damaged or too large, or holds what is no array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        if unpacked > _UNPACKED_LIMIT:
            raise ValueError(f"it would unpack to {unpacked} bytes, the limit is {_UNPACKED_LIMIT}")
        with np.load(path, allow_pickle=False) as members:
            found = {name: members[name] for name in members.files}
    # Damage makes zipfile, what unpacks for it, and numpy raise anything.
    except Exception as error:
        raise ValueError(first_line(error)) from error
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"its member '{name}' is no array")
    return found


def first_line(error: Exception) -> str:
    """What an error of such a library says, for a sentence of ours."""
    text = str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")
