"""Faces: scores `[1, N, 2]` (background, face) and corners `[1, N, 4]` as shares of the input.

Source: https://github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB. Its Caffe models end
at the convolutions and leave it to their caller to bring the boxes from anchors to corners.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Arrays
from edgeinfer.heads.anchors import decode_ssd, square_priors, variances_of
from edgeinfer.heads.base import Graph, View, cells
from edgeinfer.heads.boxes import peak_of, threshold
from edgeinfer.heads.instances import faces, input_hw
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec

# Boxes of each cell by stride.
_ANCHORS = ((8, 3), (16, 2), (32, 2), (64, 3))
_STRIDES = tuple(stride for stride, _ in _ANCHORS)
# Sides of the boxes, in pixels of the input.
_SIZES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))


class UltraFace:
    """Suppression is done here. Option: ``encoded`` (false), whether the boxes are regressions from
    the anchors.
    """

    name = "ultraface"
    task = "face"

    def why_not(self, graph: Graph) -> str | None:
        shapes = sorted((item.shape for item in graph.outputs), key=lambda shape: str(shape[-1:]))
        listed = ", ".join(str(list(item.shape)) for item in graph.outputs)
        if [shape[2:] for shape in shapes] != [(2,), (4,)] or len({s[1] for s in shapes}) > 1:
            return f"its outputs are [1, N, 2] and [1, N, 4], these are {listed}"
        if graph.guessing and graph.input_hw is not None:
            usual = sum(cells(graph.input_hw, (stride,)) * each for stride, each in _ANCHORS)
            if shapes[0][1] != usual:
                return f"it gives {usual} predictions for this input, these are {listed}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return 1

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Poses]:
        """Scores and shares to faces without landmarks."""
        scores, boxes = sorted(outputs.values(), key=lambda array: array.shape[2])
        height, width = input_hw(spec)
        size = np.array([width, height, width, height], np.float32)
        found = []
        encoded = spec.head_options.get("encoded", False)
        priors = square_priors((height, width), _STRIDES, _SIZES).clip(0, 1) if encoded else None
        if priors is not None and len(priors) != boxes.shape[1]:
            raise SpecError(
                f"The head 'ultraface' got {boxes.shape[1]} predictions and {len(priors)} anchors "
                f"for {width}x{height}: correct the input's size_hw."
            )
        for score, box, view in zip(scores[:, :, 1], boxes, views, strict=True):
            passing = np.flatnonzero(score > threshold(spec, "score"))
            shares = box[passing].astype(np.float32)
            if priors is not None:
                shares = decode_ssd(shares, priors[passing], variances_of({}))
            corners = shares * size
            points = np.zeros((len(passing), 0, 2), np.float32)
            sure = score[passing].astype(np.float32)
            found.append(faces(corners, sure, points, view, spec, peak_of(score)))
        return found
