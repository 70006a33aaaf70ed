"""Hashes of model files, remembered: hashing one costs as much as opening it.

A file is known by its device, inode, size, mtime and ctime.
"""

from __future__ import annotations

from edgeinfer import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

_KIND = "hashes"


def recall(status: os.stat_result) -> tuple[str, bool] | None:
    """The SHA-256 of a file, and whether it has external data; None where that is not known."""
    known = cache.recall(_KIND, _name(status))
    if known is None or not isinstance(known.get("sha256"), str):
        return None
    return known["sha256"], bool(known.get("external"))


def note(status: os.stat_result, sha256: str, external: bool) -> None:
    """Remember them."""
    cache.note(_KIND, _name(status), {"sha256": sha256, "external": external})


def _name(status: os.stat_result) -> str:
    identity = (status.st_dev, status.st_ino, status.st_size)
    return "-".join(str(part) for part in (*identity, status.st_mtime_ns, status.st_ctime_ns))
