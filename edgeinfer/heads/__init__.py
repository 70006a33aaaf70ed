"""Heads: what comes out of a graph, by name.

To add one: write a class with the five members of `Head` in a file of its own, and name it here;
if it takes options, name those in `options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeinfer.errors import UsageError, suggest
from edgeinfer.heads.anomaly import AnomalyMap, AnomalyScore, Reconstruction
from edgeinfer.heads.base import Graph, Head, View
from edgeinfer.heads.boxes import DEFAULT_THRESHOLDS, class_numbers
from edgeinfer.heads.class_ids import ClassIds
from edgeinfer.heads.classify import Logits, Softmax
from edgeinfer.heads.ctc import Ctc
from edgeinfer.heads.db import Db
from edgeinfer.heads.embed import Embed
from edgeinfer.heads.fastestdet import FastestDet
from edgeinfer.heads.heatmap import Heatmap
from edgeinfer.heads.nanodet import NanoDet
from edgeinfer.heads.obb import YoloV8Obb
from edgeinfer.heads.objectness import YoloV5, YoloX
from edgeinfer.heads.options import check_options, takes
from edgeinfer.heads.pose import YoloV8Pose
from edgeinfer.heads.retinaface import RetinaFace
from edgeinfer.heads.rtdetr import RtDetr
from edgeinfer.heads.scrfd import Scrfd
from edgeinfer.heads.segment import YoloV8Seg
from edgeinfer.heads.semantic import Semantic
from edgeinfer.heads.ssd import Ssd
from edgeinfer.heads.tensor import Sequence, Tensor
from edgeinfer.heads.ultraface import UltraFace
from edgeinfer.heads.yolov3 import YoloV3
from edgeinfer.heads.yolov8 import End2End, YoloV8
from edgeinfer.heads.yunet import YuNet

__all__ = [
    "BOX_TASKS",
    "DEFAULT_THRESHOLDS",
    "HEADS",
    "NEVER_GUESSED",
    "TASKS",
    "Graph",
    "Head",
    "View",
    "check_options",
    "class_numbers",
    "head_named",
    "takes",
]

_ALL: tuple[Head, ...] = (
    *(YoloV8(), YoloV5(), End2End(), YoloX(), YoloV3(), NanoDet(), FastestDet(), Ssd(), RtDetr()),
    *(Softmax(), Logits(), ClassIds()),
    *(YoloV8Seg(), Semantic()),
    *(YoloV8Pose(), Heatmap()),
    *(UltraFace(), YuNet(), RetinaFace(), Scrfd()),
    YoloV8Obb(),
    *(Db(), Ctc()),
    Embed(),
    *(AnomalyScore(), AnomalyMap(), Reconstruction()),
    *(Sequence(), Tensor()),
)
HEADS: Mapping[str, Head] = MappingProxyType({head.name: head for head in _ALL})
_ALIASES = {
    "yolov10": "end2end",
    "yolov9": "yolov8",
    "yolo11": "yolov8",
    "yolov7": "yolov5",
}
TASKS = tuple(dict.fromkeys(head.task for head in _ALL))
# Objects with boxes and scores, among which a threshold and suppression choose.
BOX_TASKS = ("detect", "segment", "pose", "face", "obb")
# Shapes that say too little: these are read only where a spec, metadata or an option names the
# head, or a task of which only one fits.
NEVER_GUESSED = frozenset(
    {
        "yolov8-obb",
        "heatmap",
        "embed",
        "anomaly-score",
        "anomaly-map",
        "reconstruction",
        "ctc",
        "sequence",
        "tensor",
    }
)


def head_named(name: str) -> Head:
    """The head of that name or alias.

    Raises:
        UsageError: with a suggestion, if there is none.
    """
    head = HEADS.get(_ALIASES.get(name, name))
    if head is None:
        raise UsageError(f"There is no head '{name}'. {suggest(name, HEADS)}")
    return head
