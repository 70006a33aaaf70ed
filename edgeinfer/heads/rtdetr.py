"""RT-DETR and its kin: a fixed number of queries, no suppression needed.

Either one output `[1, N, 4 + classes]` (Ultralytics: centre and size as shares of the input, then
probabilities; since 8.4 `[1, N, 6]`: the best score and its class), or two, `[1, N, 4]` and
`[1, N, classes]` (Hugging Face: `pred_boxes` the same, `logits` before the sigmoid).

Source: Zhao et al. 2023, https://arxiv.org/abs/2304.08069.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.heads.boxes import apart, finish, peak_of, threshold, xywh_to_xyxy
from edgeinfer.heads.instances import input_hw
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec

_USUAL_QUERIES = 300


class RtDetr:
    """The best class of each query counts.

    Options: ``end2end`` (rows of centre, size, score, class).
    """

    name = "rtdetr"
    task = "detect"

    def why_not(self, graph: Graph) -> str | None:
        shapes = [item.shape for item in graph.outputs]
        listed = ", ".join(str(list(shape)) for shape in shapes)
        if any(len(shape) != 3 for shape in shapes) or len(shapes) not in (1, 2):
            return f"its output is [1, N, 4 + classes], or boxes and logits, not {listed}"
        if len(shapes) == 2:
            if 4 not in (shapes[0][2], shapes[1][2]):
                return f"one of its outputs has rows of 4 values, these are {listed}"
            if shapes[0][1] != shapes[1][1]:
                return f"its outputs have as many rows, these are {listed}"
        elif graph.options.get("end2end"):
            return None if shapes[0][2] == 6 else f"its rows have 6 values, this output is {listed}"
        elif isinstance(shapes[0][2], int) and shapes[0][2] < 5:
            return f"its rows have 4 + classes values, this output is {listed}"
        if graph.guessing and (shapes[0][1] != _USUAL_QUERIES or shapes[0][2] == 6):
            return f"it usually has {_USUAL_QUERIES} queries, this output is {listed}"
        return None

    def classes(self, graph: Graph) -> int | None:
        sizes = [item.shape[2] for item in graph.outputs]
        if graph.options.get("end2end"):
            return None
        if len(sizes) == 1:
            return sizes[0] - 4 if isinstance(sizes[0], int) else None
        _, logits = apart([(item.name, item.shape) for item in graph.outputs])
        return logits[1][2] if isinstance(logits[1][2], int) else None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """Queries to detections."""
        height, width = input_hw(spec)
        size = np.array([width, height, width, height], np.float32)
        boxes, scores = _parts(outputs)
        end2end = bool(spec.head_options.get("end2end"))
        found = []
        for raw, sure, view in zip(boxes, scores, views, strict=True):
            best = sure[:, 0] if end2end else sure.max(axis=1)
            passing = np.flatnonzero(best > threshold(spec, "score"))
            corners = xywh_to_xyxy(raw[passing].astype(np.float32) * size)
            chosen = sure[passing]
            ids = chosen[:, 1].astype(np.int64) if end2end else chosen.argmax(axis=1)
            kept = best[passing].astype(np.float32)
            peak = peak_of(best)
            found.append(finish(corners, kept, ids, view, spec, peak=peak, suppress=False))
        return found


def _parts(outputs: Arrays) -> tuple[Array, Array]:
    """Boxes and probabilities, `(B, N, 4)` and `(B, N, classes)`."""
    if len(outputs) == 1:
        (both,) = outputs.values()
        return both[:, :, :4], both[:, :, 4:]
    boxes, logits = apart([(name, array.shape) for name, array in outputs.items()])
    return outputs[boxes[0]], 1 / (1 + np.exp(-outputs[logits[0]].astype(np.float32)))
