"""Compiled artefacts (engines, blobs, optimized graphs) by content, each made by one process.

    compiled/                  in the cache folder
    ├── KIND-HASH/             a finished artefact: its files and a manifest with their hashes
    ├── building/KIND-HASH/    one that is being made; the lock says whether its maker still lives
    ├── locks/KIND-HASH.lock   held by the maker; the kernel lets go of it when the maker dies
    └── trash/                 what was renamed away and is being deleted

The hash is taken of everything that the artefact depends on. A finished artefact appears by one
rename of a folder whose files are synced, so a kill leaves the old state or the new one. A cache
that is full, read-only, damaged or without locks costs speed, never correctness: callers get None
and go on without it.
"""

from __future__ import annotations

from edgeinfer.compiled.obtain import drop, find, obtain, refusals, set_teller, silent, tell
from edgeinfer.compiled.room import (
    BOUND_VARIABLE,
    DEFAULT_BOUND,
    Artefact,
    artefacts,
    bound,
    bound_of,
    clear,
    set_bound,
)
from edgeinfer.compiled.shelf import held

__all__ = [
    "BOUND_VARIABLE",
    "DEFAULT_BOUND",
    "Artefact",
    "artefacts",
    "bound",
    "bound_of",
    "clear",
    "drop",
    "find",
    "held",
    "obtain",
    "refusals",
    "set_bound",
    "set_teller",
    "silent",
    "tell",
]
