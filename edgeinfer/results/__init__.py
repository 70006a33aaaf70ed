"""What comes out: one frozen record per frame, and a typed value for each task.

Each part is imported on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.lazy import exports

if TYPE_CHECKING:
    from edgeinfer.results.instances import Detections, Oriented, Poses, Segments
    from edgeinfer.results.maps import ClassMap
    from edgeinfer.results.masks import Mask, rle_decode, rle_encode
    from edgeinfer.results.record import (
        Classes,
        Payload,
        Placement,
        Result,
        Served,
        Tensors,
        finite,
        label_of,
    )
    from edgeinfer.results.text import TextLines
    from edgeinfer.results.vectors import Anomaly, Embedding

__all__ = [
    "Anomaly",
    "ClassMap",
    "Classes",
    "Detections",
    "Embedding",
    "Mask",
    "Oriented",
    "Payload",
    "Placement",
    "Poses",
    "Result",
    "Segments",
    "Served",
    "Tensors",
    "TextLines",
    "finite",
    "label_of",
    "rle_decode",
    "rle_encode",
]

_HOMES = {
    "Anomaly": "edgeinfer.results.vectors",
    "ClassMap": "edgeinfer.results.maps",
    "Classes": "edgeinfer.results.record",
    "Detections": "edgeinfer.results.instances",
    "Embedding": "edgeinfer.results.vectors",
    "Mask": "edgeinfer.results.masks",
    "Oriented": "edgeinfer.results.instances",
    "Payload": "edgeinfer.results.record",
    "Placement": "edgeinfer.results.record",
    "Poses": "edgeinfer.results.instances",
    "Result": "edgeinfer.results.record",
    "Segments": "edgeinfer.results.instances",
    "Served": "edgeinfer.results.record",
    "Tensors": "edgeinfer.results.record",
    "TextLines": "edgeinfer.results.text",
    "finite": "edgeinfer.results.record",
    "label_of": "edgeinfer.results.record",
    "rle_decode": "edgeinfer.results.masks",
    "rle_encode": "edgeinfer.results.masks",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
