"""RetinaFace: regressions `[1, N, 4]`, scores `[1, N, 2]` and landmarks `[1, N, 10]`.

Source: Deng et al. 2019, https://arxiv.org/abs/1905.00641, with the priors of
https://github.com/biubug6/Pytorch_Retinaface: two square ones a cell at three strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Arrays
from edgeinfer.heads.anchors import decode_ssd, square_priors, variances_of
from edgeinfer.heads.base import Graph, View
from edgeinfer.heads.boxes import peak_of, threshold
from edgeinfer.heads.instances import faces, input_hw
from edgeinfer.heads.ssd import activated
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec

_STRIDES = (8, 16, 32)
_SIZES = ((16, 32), (64, 128), (256, 512))


class RetinaFace:
    """Options: ``strides`` ([8, 16, 32]), ``sizes`` ([[16, 32], [64, 128], [256, 512]], in model
    pixels), ``variances`` (0.1, 0.1, 0.2, 0.2).
    """

    name = "retinaface"
    task = "face"

    def why_not(self, graph: Graph) -> str | None:
        shapes = [item.shape for item in graph.outputs]
        if sorted(str(shape[-1:]) for shape in shapes) != ["(10,)", "(2,)", "(4,)"]:
            listed = ", ".join(str(list(shape)) for shape in shapes)
            return f"its outputs are [1, N, 4], [1, N, 2] and [1, N, 10], these are {listed}"
        strides = len(graph.options.get("strides", _STRIDES))
        sizes = len(graph.options.get("sizes", _SIZES))
        if strides != sizes:
            return f"its options have {sizes} lists of sizes for {strides} strides"
        return None

    def classes(self, graph: Graph) -> int | None:
        return 1

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Poses]:
        """Regressions to faces with five landmarks."""
        scores, boxes, marks = sorted(outputs.values(), key=lambda array: array.shape[-1])
        height, width = input_hw(spec)
        sizes = spec.head_options.get("sizes", _SIZES)
        strides = tuple(spec.head_options.get("strides", _STRIDES))
        priors = square_priors((height, width), strides, tuple(tuple(item) for item in sizes))
        if len(priors) != boxes.shape[1]:
            raise SpecError(
                f"The head 'retinaface' got {boxes.shape[1]} predictions and {len(priors)} priors: "
                f"correct strides and sizes in head_options."
            )
        variances = variances_of(spec.head_options)
        shares = np.array([width, height, width, height], np.float32)
        found = []
        for raw, score, mark, view in zip(boxes, scores, marks, views, strict=True):
            # Exports with and without the softmax are both about.
            plain = score.min() >= 0 and score.max() <= 1
            sure = activated(score, "none" if plain else "softmax")[:, 1]
            passing = np.flatnonzero(sure > threshold(spec, "score"))
            prior = priors[passing]
            corners = decode_ssd(raw[passing].astype(np.float32), prior, variances) * shares
            reach = mark[passing].astype(np.float32).reshape(-1, 5, 2) * np.float32(variances[0])
            points = (prior[:, None, :2] + reach * prior[:, None, 2:]) * shares[:2]
            kept = sure[passing].astype(np.float32)
            found.append(faces(corners, kept, points, view, spec, peak_of(sure)))
        return found
