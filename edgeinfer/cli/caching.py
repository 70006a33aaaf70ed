"""How the command line uses the cache of compiled artefacts: its bound, and what is told of it."""

from __future__ import annotations

import os

from edgeinfer.cli.output import say


def apply_settings() -> None:
    """Take the bound from EDGEINFER_CACHE_BYTES; tell on stderr what is built and waited for.

    Raises:
        UsageError: if the variable holds no number of bytes.
    """
    from edgeinfer import compiled

    compiled.set_teller(lambda text: say(f"edgeinfer: {text}."))
    text = os.environ.get(compiled.BOUND_VARIABLE)
    if text:
        compiled.set_bound(compiled.bound_of(text))


def size_text(size: int) -> str:
    """Bytes for people: ``12.4 MB`` (powers of 1000, as disks are sold)."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
