"""Pre- and postprocessing as people write it by hand around a runtime, with OpenCV and numpy.

`cv2.resize` and `cv2.copyMakeBorder`, numbers by numpy, the usual decoders of each head's own demo,
`cv2.dnn.NMSBoxesBatched`. It imports nothing of edgeinfer. What is no head of `DECODERS`
is inference only: the raw outputs are the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

_SAMPLED = 64
_TOP_K = 5


class View(NamedTuple):
    """Where a picture lies in the model's input: frame = (model - offset) * scale + corner."""

    scale_xy: tuple[float, float]
    offset_xy: tuple[int, int]
    corner_xy: tuple[int, int]
    frame_wh: tuple[int, int]


class Boxes(NamedTuple):
    """`(N,)` classes and scores, best first, `(N, 4)` xyxy in the frame's pixels."""

    class_ids: Any
    scores: Any
    boxes_xyxy: Any


class Classes(NamedTuple):
    """The best classes and their probabilities, best first."""

    class_ids: Any
    scores: Any


def resized(picture: Any, given: Mapping[str, Any], size_hw: tuple[int, int]) -> tuple[Any, View]:
    """A picture in the model's size, still uint8 BGR, by the resize rule of an input's spec.

    Args:
        picture: `(H, W, 3)` uint8 BGR, or `(H, W)` grey.
    """
    (height, width), (in_h, in_w) = picture.shape[:2], size_hw
    rule, whole = given["resize"], (width, height)
    resize = partial(cv2.resize, interpolation=getattr(cv2, f"INTER_{_interpolation(given)}"))
    if rule == "none":
        return picture, View((1.0, 1.0), (0, 0), (0, 0), whole)
    if rule == "stretch":
        made = resize(picture, (in_w, in_h))
        return made, View((width / in_w, height / in_h), (0, 0), (0, 0), whole)
    if rule == "center-crop":
        scale = max(in_w / width, in_h / height)
        crop_w, crop_h = min(width, round(in_w / scale)), min(height, round(in_h / scale))
        x, y = (width - crop_w) // 2, (height - crop_h) // 2
        made = resize(picture[y : y + crop_h, x : x + crop_w], (in_w, in_h))
        return made, View((crop_w / in_w, crop_h / in_h), (0, 0), (x, y), whole)
    scale = min(in_w / width, in_h / height)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    centred = rule == "letterbox" and given.get("anchor", "center") == "center"
    left = (in_w - new_w) // 2 if centred else 0
    top = (in_h - new_h) // 2 if centred else 0
    made = picture if (new_w, new_h) == whole else resize(picture, (new_w, new_h))
    bottom, right = in_h - new_h - top, in_w - new_w - left
    grey = (given["pad_value"],) * 3
    made = cv2.copyMakeBorder(made, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)
    return made, View((width / new_w, height / new_h), (left, top), (0, 0), whole)


def _interpolation(given: Mapping[str, Any]) -> str:
    return str(given.get("interpolation", "linear")).upper()


def as_blob(picture: Any, given: Mapping[str, Any]) -> Any:
    """`(1, C, H, W)` or `(1, H, W, C)` numbers of a picture in the model's size, by numpy.

    `cv2.dnn.blobFromImage` of OpenCV 5.0 took 3.4 ms for 640x640 where this takes 0.9.
    """
    picture = in_channels(picture, given)
    pixels = picture[:, :, ::-1] if given["color"] == "rgb" else picture
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    channels = pixels.shape[2]
    # value = (pixel * scale - mean) / std
    std = np.resize(np.asarray(given["std"], np.float64), channels)
    factor = (given["scale"] / std).astype(np.float32)
    offset = (-np.resize(np.asarray(given["mean"], np.float64), channels) / std).astype(np.float32)
    if given["layout"] == "nchw":
        pixels = pixels.transpose(2, 0, 1)
        factor, offset = factor[:, None, None], offset[:, None, None]
    if (factor == 1).all() and not offset.any():
        return np.ascontiguousarray(pixels[None], given["dtype"])
    values = np.multiply(pixels, factor, dtype=np.float32, order="C")
    if offset.any():
        values += offset
    return values[None].astype(given["dtype"], copy=False)


def in_channels(picture: Any, given: Mapping[str, Any]) -> Any:
    """The picture in grey where the model takes that, else in colours."""
    if given["color"] == "gray" and picture.ndim == 3:
        return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    if given["color"] != "gray" and picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return picture


def yolov8(outputs: Sequence[Any], view: View, spec: Mapping[str, Any]) -> Boxes:
    """`(1, 4 + classes, N)`: centre and size in model pixels, a score per class."""
    rows = outputs[0][0]
    scores = rows[4:].max(0)
    kept = scores > _threshold(spec, "score")
    rows, scores = rows[:, kept], scores[kept]
    return _suppressed(rows[:4].T, scores, rows[4:].argmax(0), view, spec)


def yolov5(outputs: Sequence[Any], view: View, spec: Mapping[str, Any]) -> Boxes:
    """`(1, N, 5 + classes)`: centre and size in model pixels, objectness, a score per class."""
    rows = outputs[0][0]
    return _with_objectness(rows[rows[:, 4] > _threshold(spec, "score")], view, spec)


def yolox(outputs: Sequence[Any], view: View, spec: Mapping[str, Any]) -> Boxes:
    """The same before decoding: offsets within cells of strides 8, 16 and 32, and logarithms.

    As `demo_postprocess` of https://github.com/Megvii-BaseDetection/YOLOX does it.
    """
    rows = outputs[0][0]
    height, width = spec["inputs"][0]["size_hw"]
    kept = np.flatnonzero(rows[:, 4] > _threshold(spec, "score"))
    rows = rows[kept]
    corners, strides = _grid(height, width)
    rows[:, :2] = (rows[:, :2] + corners[kept]) * strides[kept]
    rows[:, 2:4] = np.exp(rows[:, 2:4]) * strides[kept]
    return _with_objectness(rows, view, spec)


_GRIDS: dict[tuple[int, int], tuple[Any, Any]] = {}


def _grid(height: int, width: int) -> tuple[Any, Any]:
    """Corners `(N, 2)` and strides `(N, 1)` of the cells, made once."""
    if (height, width) not in _GRIDS:
        corners, strides = [], []
        for stride in (8, 16, 32):
            y, x = np.mgrid[: -(-height // stride), : -(-width // stride)]
            corners.append(np.stack((x, y), -1).reshape(-1, 2))
            strides.append(np.full((x.size, 1), stride))
        made = np.concatenate(corners), np.concatenate(strides)
        _GRIDS[height, width] = made[0].astype(np.float32), made[1].astype(np.float32)
    return _GRIDS[height, width]


def end2end(outputs: Sequence[Any], view: View, spec: Mapping[str, Any]) -> Boxes:
    """`(1, N, 6)`: corners in model pixels, score, class; nothing is left to suppress."""
    rows = outputs[0][0]
    rows = rows[rows[:, 4] > _threshold(spec, "score")]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][: int(_threshold(spec, "max_detections"))]
    return Boxes(rows[:, 5].astype(int), rows[:, 4], _placed(rows[:, :4], view))


def softmax(outputs: Sequence[Any], _view: View | None, spec: Mapping[str, Any]) -> Classes:
    """`(1, classes)` probabilities."""
    scores = outputs[0].reshape(-1)
    best = np.argsort(-scores, kind="stable")[:_TOP_K]
    if "score" in spec["thresholds"]:
        best = best[scores[best] >= spec["thresholds"]["score"]]
    return Classes(best, scores[best])


def logits(outputs: Sequence[Any], view: View | None, spec: Mapping[str, Any]) -> Classes:
    """`(1, classes)` logits."""
    values = outputs[0].astype(np.float32, copy=False)
    powers = np.exp(values - values.max())
    return softmax([powers / powers.sum()], view, spec)


_DEFAULTS = {"score": 0.25, "iou": 0.45, "max_detections": 300}


def _threshold(spec: Mapping[str, Any], key: str) -> float:
    return float(spec["thresholds"].get(key, _DEFAULTS[key]))


def _with_objectness(rows: Any, view: View, spec: Mapping[str, Any]) -> Boxes:
    scores = rows[:, 5:] * rows[:, 4:5]
    best = scores.max(1, initial=0.0)
    kept = best > _threshold(spec, "score")
    return _suppressed(rows[kept, :4], best[kept], scores[kept].argmax(1), view, spec)


def _suppressed(
    boxes_cxcywh: Any, scores: Any, class_ids: Any, view: View, spec: Mapping[str, Any]
) -> Boxes:
    boxes = boxes_cxcywh.astype(np.float64)
    boxes[:, :2] -= boxes[:, 2:] / 2
    limit, iou = _threshold(spec, "score"), _threshold(spec, "iou")
    kept: Any = ()
    if len(boxes):
        kept = cv2.dnn.NMSBoxesBatched(
            boxes, scores.astype(np.float32), class_ids.astype(np.int32), limit, iou
        )
    kept = np.asarray(kept, int).ravel()
    kept = kept[np.argsort(-scores[kept], kind="stable")][: int(_threshold(spec, "max_detections"))]
    boxes = boxes[kept]
    boxes[:, 2:] += boxes[:, :2]
    return Boxes(class_ids[kept], scores[kept], _placed(boxes, view))


def _placed(boxes_xyxy: Any, view: View) -> Any:
    placed = (boxes_xyxy - view.offset_xy * 2) * (view.scale_xy * 2) + view.corner_xy * 2
    return placed.clip(0, view.frame_wh * 2)


Decoder = Callable[[Sequence[Any], Any, Mapping[str, Any]], Any]
DECODERS: Mapping[str, Decoder] = {
    "yolov8": yolov8,
    "yolov5": yolov5,
    "yolox": yolox,
    "end2end": end2end,
    "softmax": softmax,
    "logits": logits,
}


def told(result: Any) -> dict[str, Any]:
    """A result as JSON takes it; of raw outputs shape, mean, deviation and some of the values."""
    if isinstance(result, Boxes):
        rows = zip(*(column.tolist() for column in result), strict=True)
        return {"boxes": [[int(at), score, *box] for at, score, box in rows]}
    if isinstance(result, Classes):
        pairs = zip(result.class_ids.tolist(), result.scores.tolist(), strict=True)
        return {"classes": [[int(at), score] for at, score in pairs]}
    return {"outputs": [summary(output) for output in result]}


def summary(output: Any) -> dict[str, Any]:
    """Shape, mean, standard deviation and up to 64 values at even distances."""
    values = np.asarray(output, np.float64).ravel()
    at = np.linspace(0, values.size - 1, min(_SAMPLED, values.size)).astype(int)
    return {
        "shape": list(np.shape(output)),
        "mean": float(values.mean()) if values.size else 0.0,
        "std": float(values.std()) if values.size else 0.0,
        "sample": values[at].tolist(),
    }


class ByHand:
    """A frame to its typed result, around a runtime.

    Args:
        spec: JSON of schema edgeinfer.spec/1.
        shapes: the graph's inputs in order: name to shape, with the open sizes as they may be.
        infer: feeds by name to outputs in the graph's order.
        blob: brings a picture of the model's size into the input; `as_blob` where the graph does
            not do that itself.

    Raises:
        ValueError: for a model that nobody writes a few lines around.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        shapes: Mapping[str, Sequence[Any]],
        infer: Callable[[dict[str, Any]], Sequence[Any]],
        about: Mapping[str, Any],
        blob: Callable[[Any, Mapping[str, Any]], Any] = as_blob,
    ) -> None:
        if spec.get("state") or any(item.get("context") for item in spec["inputs"]):
            raise ValueError("it carries state from frame to frame, which no peer here does")
        self._spec = spec
        self._shapes = shapes
        self._infer = infer
        self._blob = blob
        self._first = spec["inputs"][0]
        self._is_picture = self._first.get("kind", "image") == "image"
        self._values = {
            item["name"]: np.full([size if isinstance(size, int) else 1 for size in shape], value)
            for item in spec["inputs"]
            for shape in [shapes.get(item["name"], ())]
            if (value := _value(item)) is not None
        }
        head = spec["head"] if spec["head"] in DECODERS and self._decodable() else "tensor"
        self._decode = DECODERS.get(head)
        self.about = {**about, "head": head}

    def _decodable(self) -> bool:
        """Boxes need a picture that they lie in."""
        return self._is_picture or self._spec["head"] in ("softmax", "logits")

    def __call__(self, frame: Any) -> tuple[Any, tuple[int, int, int]]:
        """The typed result, and nanoseconds of pre-processing, inference and post-processing."""
        began = time.perf_counter_ns()
        feed, view = self._prepared(frame)
        ready = time.perf_counter_ns()
        outputs = self._infer(feed)
        inferred = time.perf_counter_ns()
        result = outputs if self._decode is None else self._decode(outputs, view, self._spec)
        return result, (ready - began, inferred - ready, time.perf_counter_ns() - inferred)

    def _prepared(self, frame: Any) -> tuple[dict[str, Any], View | None]:
        if isinstance(frame, Mapping):
            return {**self._values, **frame}, None
        name = self._first["name"]
        if not self._is_picture:
            return {**self._values, name: _batched(frame, self._first, self._shapes[name])}, None
        picture, view = resized(frame, self._first, self._first["size_hw"])
        return {**self._values, name: self._blob(picture, self._first)}, view

    def told(self, result: Any) -> dict[str, Any]:
        """See `told`."""
        return told(result)


def _value(item: Mapping[str, Any]) -> Any:
    value = item.get("value")
    return None if value is None else np.asarray(value, item.get("dtype", "float32"))


def _batched(array: Any, given: Mapping[str, Any], shape: Sequence[Any]) -> Any:
    array = np.ascontiguousarray(array, given.get("dtype", "float32"))
    return array[None] if array.ndim == len(shape) - 1 else array


def picture_size(
    spec: Mapping[str, Any], shape: Sequence[Any], asked: Sequence[int]
) -> Mapping[str, Any]:
    """The spec with the first input's `size_hw` filled in.

    Args:
        shape: of the graph's first input. asked: the one that is chosen where it is open.

    Raises:
        ValueError: if nobody says how large pictures are.
    """
    first = dict(spec["inputs"][0])
    if first.get("kind", "image") != "image":
        return spec
    if first.get("size_hw") is None:
        known = asked or shape
        size = known[2:4] if first["layout"] == "nchw" else known[1:3]
        if not all(isinstance(item, int) for item in size):
            raise ValueError(f"its input {list(shape)} leaves the size of pictures open")
        first["size_hw"] = list(size)
    return {**spec, "inputs": [first, *spec["inputs"][1:]]}
