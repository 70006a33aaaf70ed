"""Heads: what comes out of a graph, by name.

To add one: write a class with the five members of `Head` in a file of its own, and name it here
under its task; if it takes options, name those in `options`.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.errors import UsageError, suggest
from edgeinfer.heads.base import Graph, Head, View
from edgeinfer.heads.boxes import DEFAULT_THRESHOLDS, class_numbers
from edgeinfer.heads.options import check_options, takes
from edgeinfer.lazy import LazyTable

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
    "why_not",
]

# By task: name to where it is defined.
_BY_TASK: Mapping[str, Mapping[str, str]] = {
    "detect": {
        "yolov8": "edgeinfer.heads.yolov8:YoloV8",
        "yolov5": "edgeinfer.heads.objectness:YoloV5",
        "end2end": "edgeinfer.heads.yolov8:End2End",
        "yolox": "edgeinfer.heads.objectness:YoloX",
        "yolov3": "edgeinfer.heads.yolov3:YoloV3",
        "nanodet": "edgeinfer.heads.nanodet:NanoDet",
        "fastestdet": "edgeinfer.heads.fastestdet:FastestDet",
        "ssd": "edgeinfer.heads.ssd:Ssd",
        "retinanet": "edgeinfer.heads.retinanet:RetinaNet",
        "rtdetr": "edgeinfer.heads.rtdetr:RtDetr",
    },
    "classify": {
        "softmax": "edgeinfer.heads.classify:Softmax",
        "logits": "edgeinfer.heads.classify:Logits",
        "class-ids": "edgeinfer.heads.class_ids:ClassIds",
    },
    "segment": {"yolov8-seg": "edgeinfer.heads.segment:YoloV8Seg"},
    "semantic": {"semantic": "edgeinfer.heads.semantic:Semantic"},
    "pose": {
        "yolov8-pose": "edgeinfer.heads.pose:YoloV8Pose",
        "heatmap": "edgeinfer.heads.heatmap:Heatmap",
    },
    "face": {
        "ultraface": "edgeinfer.heads.ultraface:UltraFace",
        "yunet": "edgeinfer.heads.yunet:YuNet",
        "retinaface": "edgeinfer.heads.retinaface:RetinaFace",
        "scrfd": "edgeinfer.heads.scrfd:Scrfd",
    },
    "obb": {"yolov8-obb": "edgeinfer.heads.obb:YoloV8Obb"},
    "text-detect": {"db": "edgeinfer.heads.db:Db"},
    "text-recognize": {"ctc": "edgeinfer.heads.ctc:Ctc"},
    "embed": {"embed": "edgeinfer.heads.embed:Embed"},
    "anomaly": {
        "anomaly-score": "edgeinfer.heads.anomaly:AnomalyScore",
        "anomaly-map": "edgeinfer.heads.anomaly:AnomalyMap",
        "reconstruction": "edgeinfer.heads.anomaly:Reconstruction",
    },
    "sequence": {"sequence": "edgeinfer.heads.tensor:Sequence"},
    "tensor": {"tensor": "edgeinfer.heads.tensor:Tensor"},
}
HEADS: Mapping[str, Head] = LazyTable(
    {name: home for homes in _BY_TASK.values() for name, home in homes.items()}
)
_ALIASES = {
    "yolov10": "end2end",
    "yolov9": "yolov8",
    "yolo11": "yolov8",
    "yolov7": "yolov5",
}
TASKS = tuple(_BY_TASK)
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

# Heads that read whole numbers as what they are: classes, or values of any unit.
_WHOLE = frozenset(
    {
        "class-ids",
        "semantic",
        "embed",
        "anomaly-score",
        "anomaly-map",
        "reconstruction",
        "sequence",
        "tensor",
    }
)


def why_not(name: str, graph: Graph) -> str | None:
    """Why these outputs cannot be that head's, by their shapes and by what they hold; else None."""
    reason = HEADS[name].why_not(graph)
    if reason is None and name not in _WHOLE:
        for item in graph.outputs:
            if "int" in item.dtype or item.dtype == "bool":
                return (
                    f"it reads fractions, and '{item.name}' holds {item.dtype}, whose scale is not "
                    f"known: let the graph end in DequantizeLinear"
                )
    return reason


def head_named(name: str) -> Head:
    """The head of that name or alias.

    Raises:
        UsageError: with a suggestion, if there is none.
    """
    head = HEADS.get(_ALIASES.get(name, name))
    if head is None:
        raise UsageError(f"There is no head '{name}'. {suggest(name, HEADS)}")
    return head
