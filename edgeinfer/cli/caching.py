"""How the command line uses the cache of compiled artefacts: its bound, and what is told of it."""

from __future__ import annotations

import os

from edgeinfer.cli.output import say
from edgeinfer.errors import UsageError

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def apply_settings() -> None:
    """Take the bound from EDGEINFER_CACHE_BYTES; tell on stderr what is built and waited for.

    Raises:
        UsageError: if the variable holds no number of bytes.
    """
    from edgeinfer import compiled

    compiled.set_teller(lambda text: say(f"edgeinfer: {text}."))
    text = os.environ.get("EDGEINFER_CACHE_BYTES")
    if text:
        compiled.set_bound(size_of(text))


def size_of(text: str) -> int:
    """Bytes from ``4000000``, ``500M`` or ``8G`` (powers of 1024).

    Raises:
        UsageError: for anything else.
    """
    digits = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = digits[-1:] if digits[-1:] in "kmgt" else ""
    number = digits.removesuffix(unit)
    if not (number.isascii() and number.isdigit()):
        raise UsageError(
            f"EDGEINFER_CACHE_BYTES is '{text}', which is no number of bytes: give 8G, 500M or "
            f"4000000, say."
        )
    return int(number) * _UNITS[unit]


def size_text(size: int) -> str:
    """Bytes for people: ``12.4 MB`` (powers of 1000, as disks are sold)."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
