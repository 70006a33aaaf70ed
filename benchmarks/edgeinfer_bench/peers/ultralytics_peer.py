"""Ultralytics on the exported file: `YOLO(model)(frame, verbose=False)`.

It feeds what its own models take, so a model that takes something else is refused. Below lies ONNX
Runtime with as many threads as that chooses; only PyTorch's own can be set here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
if TYPE_CHECKING:
    from edgeinfer_bench.peers.line import Opened, Refused, Request, serve
else:
    from line import Refused, serve

_RULES = {"detect": "letterbox", "classify": "center-crop"}
_HEADS = {"detect": ("yolov8", "end2end"), "classify": ("softmax",)}
# What `Results.speed` calls the stages of `line.STAGES`.
_SPEEDS = ("preprocess", "inference", "postprocess")


class _Yolo:
    """A model with the settings of its spec."""

    def __init__(self, request: Request) -> None:
        import torch
        import ultralytics

        spec = request.spec
        reason = why_not(spec)
        if reason is not None:
            raise Refused(reason)
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        limits, first = spec["thresholds"], spec["inputs"][0]
        size = first.get("size_hw") or request.input_shape[2:4] or None
        self._settings = {
            "conf": limits.get("score", 0.25),
            "iou": limits.get("iou", 0.45),
            "max_det": int(limits.get("max_detections", 300)),
            "device": "cpu",
            "verbose": False,
            **({} if size is None else {"imgsz": list(size)}),
        }
        self._model = ultralytics.YOLO(request.path, task=spec["task"], verbose=False)
        # The file is read when the first frame comes.
        self._model(_blank(size or (640, 640)), **self._settings)
        self.about = {
            "name": "ultralytics",
            "version": ultralytics.__version__,
            "threads": None,
            "device": "CPU",
            "precision": "as the file",
            "head": spec["head"],
        }

    def __call__(self, frame: Any) -> tuple[Any, tuple[int, int, int]]:
        (result,) = self._model(frame, **self._settings)
        first, second, third = (round(result.speed[name] * 1e6) for name in _SPEEDS)
        return result, (first, second, third)

    def told(self, result: Any) -> dict[str, Any]:
        if result.probs is not None:
            pairs = zip(result.probs.top5, result.probs.top5conf.tolist(), strict=True)
            return {"classes": [[int(at), score] for at, score in pairs]}
        boxes = result.boxes
        rows = zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True)
        return {"boxes": [[int(at), score, *box] for at, score, box in rows]}


def opened(request: Request) -> Opened:
    """A model, or why it is none of Ultralytics' own kind."""
    return _Yolo(request)


def _blank(size_hw: tuple[int, ...]) -> Any:
    import numpy as np

    return np.full((*size_hw, 3), 114, np.uint8)


def why_not(spec: Mapping[str, Any]) -> str | None:
    """Why it would compute something else than the spec says."""
    task, head, first = spec["task"], spec["head"], spec["inputs"][0]
    if head not in _HEADS.get(task, ()):
        known = ", ".join(name for heads in _HEADS.values() for name in heads)
        return f"its predictors do not read the head '{head}' of a '{task}' model ({known} here)"
    feeds = {"resize": _RULES[task], "color": "rgb", "layout": "nchw", "kind": "image"}
    if task == "detect":
        feeds.update({"anchor": "center", "interpolation": "linear"})
    for key, value in feeds.items():
        if first.get(key, value) != value:
            return f"it feeds pictures with {key} '{value}', the model takes '{first[key]}'"
    plain = abs(first["scale"] * 255 - 1) < 1e-6
    if not plain or any(first["mean"]) or any(item != 1 for item in first["std"]):
        return (
            f"it feeds pixels from 0 to 1, the model takes pixel * {first['scale']:.4g} less mean "
            f"{first['mean']} over std {first['std']}"
        )
    if task == "detect" and first["pad_value"] != 114:
        return f"it pads with 114, the model with {first['pad_value']}"
    return None


def main() -> None:
    """Serve, with nothing fetched and nothing installed on the way."""
    os.environ.update({"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"})
    # The working folder is empty and ends with this process.
    os.environ.setdefault("YOLO_CONFIG_DIR", os.getcwd())
    serve(("cv2", "onnxruntime", "torch", "torchvision", "ultralytics"), opened)


if __name__ == "__main__":
    main()
