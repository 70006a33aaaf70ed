"""Heads: what comes out of a graph, by name.

To add one: write a class with the five members of `Head` in a file of its own, and name it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeinfer.errors import UsageError, suggest
from edgeinfer.heads.base import Graph, Head, View
from edgeinfer.heads.boxes import DEFAULT_THRESHOLDS, class_numbers
from edgeinfer.heads.classify import Logits, Softmax
from edgeinfer.heads.objectness import YoloV5, YoloX
from edgeinfer.heads.tensor import Tensor
from edgeinfer.heads.yolov8 import End2End, YoloV8

__all__ = [
    "DEFAULT_THRESHOLDS",
    "HEADS",
    "TASKS",
    "Graph",
    "Head",
    "View",
    "class_numbers",
    "head_named",
]

HEADS: Mapping[str, Head] = MappingProxyType(
    {
        head.name: head
        for head in (YoloV8(), YoloV5(), End2End(), YoloX(), Softmax(), Logits(), Tensor())
    }
)
_ALIASES = {
    "yolov10": "end2end",
    "yolov9": "yolov8",
    "yolo11": "yolov8",
    "yolov7": "yolov5",
}
TASKS = ("detect", "classify", "tensor")


def head_named(name: str) -> Head:
    """The head of that name or alias.

    Raises:
        UsageError: with a suggestion, if there is none.
    """
    head = HEADS.get(_ALIASES.get(name, name))
    if head is None:
        raise UsageError(f"There is no head '{name}'. {suggest(name, HEADS)}")
    return head
