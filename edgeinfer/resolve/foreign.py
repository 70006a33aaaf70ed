"""Metadata that other tools leave in their models."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer.labels import labels_of
from edgeinfer.spec import TensorSpec

# By Ultralytics' task: the head whose layout it exports; None where the shape settles it.
_ULTRALYTICS_HEADS: Mapping[str, str | None] = {
    "detect": None,
    "classify": "softmax",
    "segment": "yolov8-seg",
    "pose": "yolov8-pose",
    "obb": "yolov8-obb",
}
_RTDETR = "RTDETRDecoder"


def _literal(text: str | None) -> Any:
    """A Python literal, or None where the text is none (or is built to exhaust the parser)."""
    if text is None or len(text) > 1_000_000:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def ultralytics_fields(
    metadata: Mapping[str, str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> dict[str, Any] | None:
    """What Ultralytics' exporters say: `task`, `names`, `imgsz`, `stride`, `end2end`, `kpt_shape`.

    Source: `export_onnx` in https://github.com/ultralytics/ultralytics (and YOLOv5's export.py,
    which writes `stride` and `names` only).

    Returns:
        Fields of a spec, or None for models of another origin.
    """
    labels = labels_of(_literal(metadata.get("names")))
    if "stride" not in metadata or labels is None:
        return None
    task = metadata.get("task", "detect")
    fields: dict[str, Any] = {"task": task, "labels": labels}
    given = _literal(metadata.get("args"))
    finished = _literal(metadata.get("end2end")) is True or (
        isinstance(given, dict) and given.get("nms") is True
    )
    if task not in _ULTRALYTICS_HEADS:
        fields.update(task="tensor", head="tensor", labels=[])
    elif task == "detect" and finished:
        fields["head"] = "end2end"
    elif _ULTRALYTICS_HEADS[task] is not None:
        fields["head"] = _ULTRALYTICS_HEADS[task]
    if metadata.get("head") == _RTDETR:
        fields["head"] = "rtdetr"
    if "task" not in metadata and [item.shape[-1:] for item in outputs] == [(5 + len(labels),)]:
        # YOLOv5's own exporter: of one class the rows are as long as those of an NMS.
        fields["head"] = "yolov5"
    options = _ultralytics_options(metadata, task, finished)
    if options:
        fields["head_options"] = options
    if inputs:
        described: dict[str, Any] = {
            "name": inputs[0].name,
            "resize": "center-crop" if task == "classify" else "letterbox",
            "pad_value": 114,
            "color": "gray" if _is_gray(inputs[0]) else "rgb",
            "scale": 1 / 255,
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
        }
        size = _literal(metadata.get("imgsz"))
        both = size if isinstance(size, (list, tuple)) else (size, size)
        if len(both) == 2 and all(type(side) is int for side in both):
            described["size_hw"] = tuple(both)
        fields["inputs"] = [described]
    return fields


def _is_gray(item: TensorSpec) -> bool:
    return len(item.shape) == 4 and 1 in (item.shape[1], item.shape[3])


def _ultralytics_options(metadata: Mapping[str, str], task: str, finished: bool) -> dict[str, Any]:
    """What the heads of objects must know beside the shapes."""
    options: dict[str, Any] = {}
    if metadata.get("head") == _RTDETR:
        # Versions that write this key write the best class of each query.
        options["end2end"] = True
    if task in ("segment", "pose", "obb") and finished:
        options["end2end"] = True
    shape = _literal(metadata.get("kpt_shape"))
    if task == "pose" and isinstance(shape, (list, tuple)):
        options["kpt_shape"] = list(shape)
    return options


_WINML_COLORS = {"Gray8": "gray", "Rgb8": "rgb", "Bgr8": "bgr"}
_WINML_RANGES = {
    "NominalRange_0_255": (1.0, 0.0, 1.0),
    "Normalized_0_1": (1 / 255, 0.0, 1.0),
    "Normalized_1_1": (1 / 255, 0.5, 0.5),
}


def windows_ml_fields(metadata: Mapping[str, str], inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """ONNX's own picture metadata, as far as a model carries it.

    Source: "Image Category Definition" in https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md.
    """
    color = _WINML_COLORS.get(metadata.get("Image.BitmapPixelFormat", ""))
    if color is None or not inputs:
        return {}
    described: dict[str, Any] = {"name": inputs[0].name, "color": color, "resize": "stretch"}
    values = _WINML_RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if values is not None:
        scale, mean, std = values
        described.update(scale=scale, mean=(mean,) * 3, std=(std,) * 3)
    return {"inputs": [described]}
