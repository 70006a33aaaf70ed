"""Small files of /proc and /sys, read without complaint."""

from __future__ import annotations

from pathlib import Path


def read(path: str | Path, limit: int = 65536) -> str | None:
    """The text of a file without surrounding blanks and NULs, or None where it cannot be read.

    Args:
        limit: bytes that are read at most.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(limit)
    except (OSError, ValueError):
        return None
    return data.decode(errors="replace").strip().strip("\0")


def read_int(path: Path) -> int | None:
    """The whole number that a file holds, or None."""
    try:
        return int(read(path) or "")
    except ValueError:
        return None
