"""What comes out: one frozen record per frame, and a typed value for each task."""

from __future__ import annotations

from edgeinfer.results.instances import Oriented, Poses, Segments
from edgeinfer.results.maps import ClassMap
from edgeinfer.results.masks import Mask, rle_decode, rle_encode
from edgeinfer.results.record import (
    Classes,
    Detections,
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
