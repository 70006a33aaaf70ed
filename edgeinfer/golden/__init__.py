"""Golden vectors: what a model answered where it was made, and whether this box says the same."""

from __future__ import annotations

from edgeinfer.golden.replay import Replay, replay, tolerance_of
from edgeinfer.golden.vectors import (
    Golden,
    Sample,
    Tolerance,
    golden_path,
    pack,
    read_golden,
    within_bounds,
)

__all__ = [
    "Golden",
    "Replay",
    "Sample",
    "Tolerance",
    "golden_path",
    "pack",
    "read_golden",
    "replay",
    "tolerance_of",
    "within_bounds",
]
