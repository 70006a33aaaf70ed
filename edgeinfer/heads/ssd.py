"""SSD: regressions `[1, N, 4]` and class scores `[1, N, classes]`, to be read with anchors.

Source: Liu et al. 2016, https://arxiv.org/abs/1512.02325.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.anchors import anchors_of, decode_ssd
from edgeinfer.heads.base import Graph, View
from edgeinfer.heads.boxes import Floats, apart, finish, peak_of, threshold
from edgeinfer.heads.instances import input_hw
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec


class Ssd:
    """Options: ``anchors``, or ``maps``, ``sizes`` and ``ratios`` (see `heads.anchors`);
    ``variances`` (0.1, 0.1, 0.2, 0.2); ``background`` (true: class 0 is none of the labels; false
    by default); ``activation``: ``none`` (scores are probabilities, the default), ``softmax`` or
    ``sigmoid``.
    """

    name = "ssd"
    task = "detect"
    usual_variances = (0.1, 0.1, 0.2, 0.2)
    usual_activation = "none"
    most_growth = math.inf  # the largest power by which a box may grow

    def why_not(self, graph: Graph) -> str | None:
        listed = ", ".join(str(list(item.shape)) for item in graph.outputs)
        shapes = [item.shape for item in graph.outputs]
        if len(shapes) != 2 or any(len(shape) not in (3, 4) for shape in shapes):
            return f"its outputs are [1, N, 4] and [1, N, classes], these are {listed}"
        if 4 not in [shape[-1] for shape in shapes]:
            return f"one of its outputs has rows of 4 values, these are {listed}"
        if not {"anchors", "maps"} & set(graph.options):
            return 'it needs its anchors: give head_options {"maps", "sizes", "ratios"}'
        return None

    def classes(self, graph: Graph) -> int | None:
        _, scores = apart([(item.name, item.shape) for item in graph.outputs])
        size = scores[1][-1]
        if not isinstance(size, int):
            return None
        return size - 1 if graph.options.get("background") else size

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """Regressions and scores to detections; the best class of each anchor counts."""
        boxes_of, scores_of = apart([(name, array.shape) for name, array in outputs.items()])
        raw_boxes = outputs[boxes_of[0]].reshape(len(views), -1, 4)
        classes = outputs[scores_of[0]].shape[-1]
        raw_scores = outputs[scores_of[0]].reshape(len(views), -1, classes)
        anchors = self.anchors(spec)
        if len(anchors) != raw_boxes.shape[1]:
            raise SpecError(
                f"The head '{self.name}' got {raw_boxes.shape[1]} predictions and {len(anchors)} "
                f"anchors: correct them by head_options in the spec."
            )
        variances = spec.head_options.get("variances", self.usual_variances)
        activation = spec.head_options.get("activation", self.usual_activation)
        height, width = input_hw(spec)
        size = np.array([width, height, width, height], np.float32)
        first = 1 if spec.head_options.get("background") else 0
        found = []
        for raw, scores, view in zip(raw_boxes, raw_scores, views, strict=True):
            # One class at a time, the larger score is the larger probability: few powers are taken.
            one_by_one = activation != "softmax"
            sure = (scores if one_by_one else activated(scores, activation))[:, first:]
            best = sure.max(axis=1)
            if one_by_one:
                best = activated(best, activation)
            passing = np.flatnonzero(best > threshold(spec, "score"))
            rows = raw[passing].astype(np.float32)
            corners = decode_ssd(rows, anchors[passing], variances, self.most_growth) * size
            ids = sure[passing].argmax(axis=1)
            kept = best[passing].astype(np.float32)
            found.append(finish(corners, kept, ids, view, spec, peak=peak_of(best)))
        return found

    def anchors(self, spec: ModelSpec) -> Floats:
        """`(N, 4)` centre and size as shares of the input.

        Raises:
            SpecError: if they are not known.
        """
        return anchors_of(spec.head_options, self.name)


def activated(raw: Array, how: str) -> Floats:
    """Scores as probabilities: by ``none``, ``sigmoid``, or ``softmax`` of `(N, classes)`."""
    scores = raw.astype(np.float32, copy=False)
    if how == "none":
        return scores
    if how == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
