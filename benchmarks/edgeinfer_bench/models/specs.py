"""What the models say of themselves: specs as their metadata carry them."""

from __future__ import annotations

from typing import Any

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def _spec(task: str, head: str, classes: int, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "edgeinfer.spec/1",
        "task": task,
        "head": head,
        "labels": [f"class {index}" for index in range(classes)],
        "inputs": [given],
        "precision": "fp32",
    }


def _picture(name: str, size: int, **more: Any) -> dict[str, Any]:
    plain = {"name": name, "kind": "image", "size_hw": [size, size], "color": "rgb"}
    return {**plain, "scale": 1 / 255, **more}


def detector(name: str, size: int, head: str, classes: int, **more: Any) -> dict[str, Any]:
    """A detector of letterboxed RGB pictures in [0, 1]; `more` overrides what the input takes."""
    given = {**_picture(name, size, resize="letterbox", pad_value=114), **more}
    return {
        **_spec("detect", head, classes, given),
        "thresholds": {"score": 0.25, "iou": 0.45},
    }


def classifier(name: str, size: int, classes: int) -> dict[str, Any]:
    """A classifier of the middle of RGB pictures, normalized as for ImageNet."""
    given = _picture(name, size, resize="center-crop", **_IMAGENET)
    return _spec("classify", "logits", classes, given)


def sequence_classifier(name: str, classes: int) -> dict[str, Any]:
    """A classifier of sensor readings, taken as they are."""
    return _spec("classify", "logits", classes, {"name": name, "kind": "tensor"})
