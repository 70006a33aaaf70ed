"""A model as it came, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A graph and what it was made from.

    Attributes:
        model: the graph with all its weights.
        path: an ONNX file with the same content, to run as the reference.
        sha256: hash of the source, which links everything made from it.
    """

    model: onnx.ModelProto
    path: Path
    sha256: str
