"""FastestDet: one map `[1, 5 + classes, h, w]`, a prediction per cell.

Source: https://github.com/dog-qiuqiu/FastestDet: objectness, then offsets by tanh and sizes by
sigmoid as shares of the input, then class probabilities; score = objectness^0.6 * class^0.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View, only_output
from edgeinfer.heads.boxes import finish, peak_of, threshold, xywh_to_xyxy
from edgeinfer.heads.instances import input_hw
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec

_OBJECT, _CLASS = 0.6, 0.4
_STRIDE = 16


class FastestDet:
    """Channels of objectness, x, y, width, height, class probabilities."""

    name = "fastestdet"
    task = "detect"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=4)
        if isinstance(shape, str):
            return shape
        if isinstance(shape[1], int) and shape[1] < 6:
            return f"it has 5 + classes channels, this output is {list(shape)}"
        if graph.guessing:
            cells = None if graph.input_hw is None else [s // _STRIDE for s in graph.input_hw]
            if cells is None or list(shape[2:]) != cells:
                return f"its cells are {_STRIDE} pixels wide, this output is {list(shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        channels = graph.outputs[0].shape[1]
        return channels - 5 if isinstance(channels, int) else None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """`[B, 5 + classes, h, w]` to detections."""
        (output,) = outputs.values()
        height, width = input_hw(spec)
        size = np.array([width, height], np.float32)
        found = []
        for raw, view in zip(output, views, strict=True):
            _, rows, columns = raw.shape
            flat = raw.reshape(len(raw), -1)
            best = np.clip(flat[5:].max(axis=0), 0, None)
            score = np.clip(flat[0], 0, None) ** _OBJECT * best**_CLASS
            passing = np.flatnonzero(score > threshold(spec, "score"))
            chosen = flat[:, passing].astype(np.float32)
            cell = np.stack((passing % columns, passing // columns), axis=1)
            shares = np.array([columns, rows], np.float32)
            centres = (cell + np.tanh(chosen[1:3].T)) / shares * size
            sizes = size / (1 + np.exp(-chosen[3:5].T))
            boxes = xywh_to_xyxy(np.concatenate((centres, sizes), axis=1).astype(np.float32))
            ids = chosen[5:].argmax(axis=0)
            sure = score[passing].astype(np.float32)
            found.append(finish(boxes, sure, ids, view, spec, peak=peak_of(score)))
        return found
