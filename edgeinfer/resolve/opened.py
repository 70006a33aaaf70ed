"""What is known of a model once it is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from edgeinfer.records import dataclass
from edgeinfer.spec import TensorSpec


@dataclass(frozen=True)
class Opened:
    """What an opened session says about its model."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
