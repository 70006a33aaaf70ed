"""YOLOv3, v4 and their small kin: raw maps `[1, A * (5 + classes), h, w]`, one for each stride.

Source: Redmon and Farhadi 2018, https://arxiv.org/abs/1804.02767: centres by sigmoid within the
cell, sizes as powers times the anchor, objectness and classes by sigmoid; score = both multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.heads.boxes import Floats, finish, peak_of, threshold, xywh_to_xyxy
from edgeinfer.heads.instances import input_hw
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec


class YoloV3:
    """Options: ``anchors``: for each output, in the graph's order, a list of [width, height] in
    model pixels, as they stand in Darknet's .cfg for that layer's mask; ``scale_xy`` (1): how far
    centres may leave their cell, the `scale_x_y` of YOLOv4's .cfg, one number or one per output.
    """

    name = "yolov3"
    task = "detect"

    def why_not(self, graph: Graph) -> str | None:
        anchors = graph.options.get("anchors")
        if anchors is None:
            return 'it needs head_options {"anchors": [[[w, h], ...], ...]}, a list for each output'
        if len(anchors) != len(graph.outputs):
            return (
                f"its anchors are for {len(anchors)} outputs, this graph has {len(graph.outputs)}"
            )
        scales = graph.options.get("scale_xy", 1)
        if isinstance(scales, list) and len(scales) != len(anchors):
            return f"its option scale_xy has {len(scales)} numbers for {len(anchors)} outputs"
        for item, each in zip(graph.outputs, anchors, strict=True):
            if len(item.shape) != 4:
                return f"its outputs are [1, A * (5 + classes), h, w], one is {list(item.shape)}"
            size = item.shape[1]
            if isinstance(size, int) and (size % len(each) or size // len(each) < 6):
                return f"{size} channels are not (5 + classes) for each of {len(each)} anchors"
        return None

    def classes(self, graph: Graph) -> int | None:
        size = graph.outputs[0].shape[1]
        anchors = graph.options.get("anchors")
        if not isinstance(size, int) or not anchors:
            return None
        return size // len(anchors[0]) - 5

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """Maps to detections; the best class of each anchor counts."""
        anchors = spec.head_options["anchors"]
        size_hw, limit = input_hw(spec), threshold(spec, "score")
        given = spec.head_options.get("scale_xy", 1)
        scales = given if isinstance(given, list) else [given] * len(anchors)
        found = []
        for index, view in enumerate(views):
            levels = [
                _level(raw[index], np.array(each, np.float32), size_hw, limit, float(scale))
                for raw, each, scale in zip(outputs.values(), anchors, scales, strict=True)
            ]
            boxes, scores, ids, peaks = zip(*levels, strict=True)
            parts = np.concatenate(boxes), np.concatenate(scores), np.concatenate(ids)
            found.append(finish(*parts, view, spec, peak=float(np.max(peaks))))
        return found


def _level(
    raw: Array, anchors: Floats, size_hw: tuple[int, int], limit: float, scale: float
) -> tuple[Floats, Floats, Any, float]:
    """Boxes, scores, classes and the largest objectness of one map `(A * (5 + classes), h, w)`."""
    _, rows, columns = raw.shape
    cube = raw.reshape(len(anchors), -1, rows * columns)
    # A score is at most its objectness, and the sigmoid keeps the order: one plane decides.
    least = (
        np.log(limit) - np.log1p(-limit) if 0 < limit < 1 else (-np.inf if limit <= 0 else np.inf)
    )
    anchor, place = np.nonzero(cube[:, 4] > least)
    chosen = cube[anchor, :, place].astype(np.float32)
    sure = _sigmoid(chosen[:, 4:])
    ids = sure[:, 1:].argmax(axis=1)
    scores = sure[:, 0] * sure[np.arange(len(ids)), 1 + ids]
    good = scores > limit
    chosen, anchor, place = chosen[good], anchor[good], place[good]
    cell = np.stack((place % columns, place // columns), axis=1)
    step = np.array([size_hw[1] / columns, size_hw[0] / rows], np.float32)
    centres = (_sigmoid(chosen[:, :2]) * scale - (scale - 1) / 2 + cell) * step
    sizes = np.exp(chosen[:, 2:4]) * anchors[anchor]
    boxes = xywh_to_xyxy(np.concatenate((centres, sizes), axis=1).astype(np.float32))
    return boxes, scores[good], ids[good], peak_of(cube[:, 4].ravel())


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))
