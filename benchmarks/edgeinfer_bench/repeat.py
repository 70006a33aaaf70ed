"""The command that repeats a benchmark, fit to be handed on."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from edgeinfer.sources.public import public_source


def repeating(words: Iterable[str]) -> str:
    """A shell command of these words; passwords and tokens of streams are left out."""
    return shlex.join(["edgeinfer", *map(public_source, words)])
