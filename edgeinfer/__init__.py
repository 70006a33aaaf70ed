"""edgeinfer: run trained models on edge boxes, and know what really runs.

Importing this package loads no other package: everything below is fetched on first use (PEP 562).
"""

from __future__ import annotations

from edgeinfer.version import __version__

# Type checkers take this name as true; importing `typing` would cost more than this whole file.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgeinfer.errors import EdgeInferError
    from edgeinfer.frames import Frame
    from edgeinfer.model import Model, load
    from edgeinfer.results import (
        Anomaly,
        Classes,
        ClassMap,
        Detections,
        Embedding,
        Oriented,
        Poses,
        Result,
        Segments,
        Tensors,
        TextLines,
    )
    from edgeinfer.sources import open_source
    from edgeinfer.spec import InputSpec, ModelSpec

__all__ = [
    "Anomaly",
    "ClassMap",
    "Classes",
    "Detections",
    "EdgeInferError",
    "Embedding",
    "Frame",
    "InputSpec",
    "Model",
    "ModelSpec",
    "Oriented",
    "Poses",
    "Result",
    "Segments",
    "Tensors",
    "TextLines",
    "__version__",
    "load",
    "open_source",
]

_HOMES = {
    "Anomaly": "edgeinfer.results",
    "ClassMap": "edgeinfer.results",
    "Classes": "edgeinfer.results",
    "Detections": "edgeinfer.results",
    "EdgeInferError": "edgeinfer.errors",
    "Embedding": "edgeinfer.results",
    "Frame": "edgeinfer.frames",
    "InputSpec": "edgeinfer.spec",
    "Model": "edgeinfer.model",
    "ModelSpec": "edgeinfer.spec",
    "Oriented": "edgeinfer.results",
    "Poses": "edgeinfer.results",
    "Result": "edgeinfer.results",
    "Segments": "edgeinfer.results",
    "Tensors": "edgeinfer.results",
    "TextLines": "edgeinfer.results",
    "load": "edgeinfer.model",
    "open_source": "edgeinfer.sources",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeinfer' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
