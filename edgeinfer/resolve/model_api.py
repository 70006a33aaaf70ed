"""Metadata of OpenVINO Model API: keys `model_info ...` in the file's properties.

Source: https://github.com/open-edge-platform/model_api: what `ONNXRuntimeAdapter` reads, with the
defaults of its wrappers (`parameters` of ImageModel, DetectionModel, YOLOv5 and YOLOX). OTX writes
them (https://github.com/open-edge-platform/training_extensions).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgeinfer.resolve.opened import Opened
from edgeinfer.spec import TensorSpec

_PREFIX = "model_info "
_RESIZES = {
    "standard": "stretch",
    "fit_to_window": "pad-br",
    "fit_to_window_letterbox": "letterbox",
    "crop": "center-crop",
}
_PLAIN: Mapping[str, str] = {"resize_type": "standard", "pad_value": "0"}
_YOLO = {
    "resize_type": "fit_to_window_letterbox",
    "pad_value": "114",
    "scale_values": "255",
    "confidence_threshold": "0.25",
    "iou_threshold": "0.7",
}
_YOLOX = {
    "resize_type": "fit_to_window",
    "pad_value": "114",
    "confidence_threshold": "0.5",
    "iou_threshold": "0.65",
}
_DETECT = {"task": "detect", "head": "yolov8"}
_TENSOR = {"task": "tensor", "head": "tensor"}
_THRESHOLDS: Mapping[str, Mapping[str, str]] = {
    "detect": {"score": "confidence_threshold", "iou": "iou_threshold"},
    "anomaly": {"anomaly": "image_threshold"},
}
# By model type, small letters and digits only: fields of the spec, and the wrapper's own defaults.
# Its YOLOv5 is the one without anchors, whose outputs are those of version 8.
_TYPES: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    **dict.fromkeys(("yolov5", "yolov8", "yolov9", "yolo11", "yolov11"), (_DETECT, _YOLO)),
    "yolox": ({"task": "detect", "head": "yolox"}, _YOLOX),
    "classification": ({"task": "classify"}, _PLAIN),
    "segmentation": ({"task": "semantic", "head": "semantic"}, _PLAIN),
    "anomalydetection": ({"task": "anomaly"}, _PLAIN),
}


def model_api_fields(opened: Opened, notes: list[str]) -> dict[str, Any] | None:
    """What a model says of itself in Model API's words.

    Args:
        opened: the model; its first input takes the picture.
        notes: what the words leave open is added, for people.

    Returns:
        Fields of a spec, or None for models of another origin.
    """
    given = _given(opened.metadata)
    if "model_type" not in given:
        return None
    kind = _kind(given)
    fields, usual = _TYPES.get(kind, (_TENSOR, _PLAIN))
    if kind == "classification" and _several(given):
        fields = _TENSOR
    found: dict[str, Any] = dict(fields)
    given = {**usual, **given}
    labels = given.get("labels", "").split()
    if labels and found["task"] not in ("tensor", "anomaly"):
        found["labels"] = _with_nothing(labels, opened, found["task"])
    thresholds = _thresholds(given, found["task"])
    if thresholds:
        found["thresholds"] = thresholds
    if opened.inputs:
        found["inputs"] = [_described(opened.inputs[0], given, kind, notes)]
    return found


def model_api_type(metadata: Mapping[str, str]) -> str:
    """The type of model that the metadata names, with what makes it another one."""
    given = _given(metadata)
    return " ".join((given.get("model_type", ""), *_several(given)))


def _given(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key[len(_PREFIX) :]: text for key, text in metadata.items() if key.startswith(_PREFIX)}


def _kind(given: Mapping[str, str]) -> str:
    return "".join(filter(str.isalnum, given["model_type"].lower()))


def _several(given: Mapping[str, str]) -> list[str]:
    """What makes a classifier give more than its best class."""
    return [key for key in ("multilabel", "hierarchical") if _says_yes(given.get(key, ""))]


def _with_nothing(labels: list[str], opened: Opened, task: str) -> list[str]:
    """Labels may leave out class 0, which is none of them."""
    shape = opened.outputs[0].shape if opened.outputs else ()
    name = {"semantic": "background", "classify": "other"}.get(task)
    if name is not None and len(shape) > 1 and shape[1] == len(labels) + 1:
        return [name, *labels]
    return labels


def _described(
    item: TensorSpec, given: Mapping[str, str], kind: str, notes: list[str]
) -> dict[str, Any]:
    """How a picture becomes the input: (pixel - mean_values) / scale_values after resizing."""
    described: dict[str, Any] = {"name": item.name, "scale": 1.0}
    described["resize"] = _RESIZES.get(given["resize_type"], "stretch")
    mean, std = _numbers(given.get("mean_values")), _numbers(given.get("scale_values"))
    described["mean"] = mean or (0.0,)
    described["std"] = std if std and 0 not in std else (1.0,)
    pad = _numbers(given["pad_value"]) or (0.0,)
    described["pad_value"] = int(min(max(pad[0], 0), 255))
    if len(item.shape) == 4 and 3 in (item.shape[1], item.shape[3]):
        described["color"] = _color(given, kind, mean, notes)
    return described


def _color(given: Mapping[str, str], kind: str, mean: tuple[float, ...], notes: list[str]) -> str:
    """The order of the input's colours. Whether `reverse_input_channels` starts from RGB or from
    BGR pictures differs between those who write it, so what is known otherwise goes first."""
    if kind in _TYPES and kind.startswith("yolo"):
        return "bgr" if kind == "yolox" else "rgb"
    reverse = _says_yes(given.get("reverse_input_channels", ""))
    if len(mean) == 3 and mean[0] != mean[2]:
        # Of ImageNet's means red has the largest, in whatever unit.
        return "rgb" if mean[0] > mean[2] else "bgr"
    color = "bgr" if reverse else "rgb"
    notes.append(
        f"colour {color} from 'reverse_input_channels' of Model API's metadata, as OTX writes it, "
        f"whose pictures are RGB"
    )
    return color


def _thresholds(given: Mapping[str, str], task: str) -> dict[str, float]:
    found = {}
    for name, key in _THRESHOLDS.get(task, {}).items():
        value = _numbers(given.get(key))
        if len(value) == 1 and (name == "anomaly" or 0 <= value[0] <= 1):
            found[name] = value[0]
    return found


def _numbers(text: str | None) -> tuple[float, ...]:
    """One number or three, apart by spaces or commas; empty where it is anything else."""
    try:
        found = tuple(float(part) for part in (text or "").strip("[]() ").replace(",", " ").split())
    except ValueError:
        return ()
    return found if len(found) in (1, 3) and all(map(math.isfinite, found)) else ()


def _says_yes(text: str) -> bool:
    return text.strip().lower() in ("true", "yes", "1")
