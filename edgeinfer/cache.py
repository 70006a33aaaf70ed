"""A folder of things that can be made again: losing it costs time, never correctness.

Entries are named by the content that they depend on. A damaged, full or read-only folder is the
same as an empty one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from edgeinfer.lazy import new_sha256

# Neither `typing` nor `pathlib`, which cost more than this file: it is read before the child of
# `vet` is started.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

_LAYOUT = "1"
_MAX_NOTES = 2000
# No writer takes that long for a note: an older unfinished file is a killed one's.
_WRITTEN_WITHIN_S = 600
# As Debian calls what is not there (Debian policy, 9.2.3).
_NOWHERE = "/nonexistent/.cache"
_root: str | None = None


def set_root(path: str | Path | None) -> None:
    """Put the cache of this process elsewhere; None means the user's own cache folder."""
    global _root
    # Children work elsewhere, and share it.
    _root = None if path is None else os.path.abspath(os.fsdecode(path))


def root() -> Path:
    """The folder that holds everything cached."""
    from pathlib import Path

    return Path(place())


def place(*names: str) -> str:
    """Where something lies under the root, as text: a path's joints take longer than the file."""
    if _root is not None:
        return os.path.join(_root, _LAYOUT, *names)
    return os.path.join(_home(), _LAYOUT, *names)


def _home() -> str:
    if sys.platform == "linux":  # as platformdirs has it, whose import takes 8 ms on a small box
        home = os.environ.get("XDG_CACHE_HOME", "").strip()
        if not os.path.isabs(home):  # the XDG base directory specification ignores it then
            home = os.path.expanduser("~/.cache")
        if not os.path.isabs(home):  # a user without a home: else a folder "~" in the working one
            home = _NOWHERE
        return os.path.join(home, "edgeinfer")
    import platformdirs

    return platformdirs.user_cache_dir("edgeinfer", appauthor=False)


def key_of(*parts: object) -> str:
    """A file name that stands for these parts and nothing else."""
    text = json.dumps([str(part) for part in parts])
    return new_sha256(text.encode()).hexdigest()[:40]


def recall(kind: str, key: str) -> dict[str, Any] | None:
    """What was noted under this key, or None."""
    try:
        with open(place(kind, f"{key}.json"), "rb", buffering=0) as file:
            found = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def note(kind: str, key: str, value: Mapping[str, Any]) -> None:
    """Note a small value; where the folder refuses, nothing happens."""
    store(kind, f"{key}.json", json.dumps(dict(value)).encode())


def store(kind: str, name: str, data: bytes) -> Path | None:
    """Store a file whole or not at all.

    Returns:
        Its path, or None where the folder refuses (full, read-only).
    """
    from edgeinfer.files import TEMP_PREFIX

    folder = root() / kind
    temp = folder / f"{TEMP_PREFIX}{os.urandom(8).hex()}-{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temp.write_bytes(data)
        temp.replace(folder / name)
    except OSError:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)
        return None
    _tidy(folder)
    return folder / name


def _tidy(folder: Path) -> None:
    """Drop what killed writers left, and the oldest half once a folder holds too many notes."""
    from edgeinfer.files import TEMP_PREFIX

    with contextlib.suppress(OSError):
        with os.scandir(folder) as entries:
            aged = [(entry.stat().st_mtime, entry.name) for entry in entries]
        doomed = sorted(aged)[: len(aged) // 2] if len(aged) > _MAX_NOTES else []
        newest = max(aged, default=(0.0, ""))[0]
        doomed += [
            (time, name)
            for time, name in aged
            if name.startswith(TEMP_PREFIX) and newest - time > _WRITTEN_WITHIN_S
        ]
        for _, name in doomed:
            (folder / name).unlink(missing_ok=True)
