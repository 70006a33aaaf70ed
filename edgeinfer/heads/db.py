"""Where text stands: a map of probabilities `[1, 1, H, W]` (Differentiable Binarization).

Source: Liao et al. 2019, https://arxiv.org/abs/1911.08947, with the steps and the numbers of
PaddleOCR's `DBPostProcess` (https://github.com/PaddlePaddle/PaddleOCR): what passes 0.3 is
gathered into regions, each region's smallest turned rectangle is scored by its mean probability
(0.6), and grown again by area x 1.5 / perimeter, since the network is taught shrunken text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View, only_output
from edgeinfer.heads.instances import input_hw
from edgeinfer.packages import opencv
from edgeinfer.results import TextLines
from edgeinfer.spec import ModelSpec

_BINARY, _SCORE, _UNCLIP = 0.3, 0.6, 1.5
_MIN_SIDE = 3  # pixels: smaller rectangles are specks
_MAX_REGIONS = 1000


class Db:
    """Rectangles around lines of text.

    The threshold ``score`` (0.6) is for a rectangle's mean. Options: ``binary`` (0.3, for single
    pixels), ``unclip`` (1.5, how far a rectangle grows).
    """

    name = "db"
    task = "text-detect"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=4)
        if isinstance(shape, str):
            return shape
        if isinstance(shape[1], int) and shape[1] != 1:
            return f"its output is one map [1, 1, H, W], this one is {list(shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[TextLines]:
        """Maps of probabilities to rectangles in the frame, from top to bottom."""
        (output,) = outputs.values()
        found = []
        for raw, view in zip(output, views, strict=True):
            probabilities = np.ascontiguousarray(raw[0], np.float32)
            flags = () if np.isfinite(np.add.reduce(probabilities, axis=None)) else ("nonfinite",)
            polygons, scores = _regions(probabilities, spec)
            height, width = input_hw(spec)
            shares = np.array([width / raw.shape[2], height / raw.shape[1]], np.float32)
            placed = view.to_frame.points(polygons * shares)
            if view.frame_wh is not None:
                placed = np.clip(placed, 0, np.array(view.frame_wh, np.float32))
            order = np.lexsort((placed[:, 0, 0], placed[:, 0, 1]))
            limit = int(spec.thresholds.get("max_detections", _MAX_REGIONS))
            best = np.sort(np.argsort(-scores[order], kind="stable")[:limit])
            kept = order[best]
            found.append(TextLines(scores[kept], (), placed[kept].astype(np.float32), flags))
        return found


def _regions(
    probabilities: NDArray[np.float32], spec: ModelSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`(N, 4, 2)` corners in pixels of the map and `(N,)` scores."""
    cv2 = opencv()
    binary = (probabilities > float(spec.head_options.get("binary", _BINARY))).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    least = float(spec.thresholds.get("score", _SCORE))
    unclip = float(spec.head_options.get("unclip", _UNCLIP))
    polygons, scores = [], []
    for contour in contours[:_MAX_REGIONS]:
        (x, y), (w, h), angle = cv2.minAreaRect(contour)
        if min(w, h) < _MIN_SIDE:
            continue
        score = _mean_inside(probabilities, cv2.boxPoints(((x, y), (w, h), angle)))
        if score < least:
            continue
        grow = 2 * (w * h * unclip / (2 * (w + h)))
        if min(w, h) + grow < _MIN_SIDE + 2:
            continue
        # Contours run through the centres of pixels, whose numbers lie a half below.
        grown = cv2.boxPoints(((x + 0.5, y + 0.5), (w + grow, h + grow), angle))
        polygons.append(_clockwise(grown))
        scores.append(score)
    if not polygons:
        return np.zeros((0, 4, 2), np.float32), np.zeros(0, np.float32)
    return np.array(polygons, np.float32), np.array(scores, np.float32)


def _mean_inside(probabilities: NDArray[np.float32], polygon: Array) -> float:
    cv2 = opencv()
    height, width = probabilities.shape
    x0, y0 = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    x1, y1 = np.clip(np.ceil(polygon.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    inside = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
    cv2.fillPoly(inside, [(polygon - (x0, y0)).astype(np.int32)], 1)
    return float(cv2.mean(probabilities[y0 : y1 + 1, x0 : x1 + 1], inside)[0])


def _clockwise(polygon: Array) -> Array:
    """The four corners from the top left one, clockwise on the picture."""
    left, right = np.split(polygon[np.argsort(polygon[:, 0], kind="stable")], 2)
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.array([top_left, top_right, bottom_right, bottom_left])
