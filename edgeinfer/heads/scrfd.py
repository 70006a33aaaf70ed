"""SCRFD faces: for each stride scores `[N, 1]`, distances `[N, 4]` and, where trained, landmarks
`[N, 10]`, in strides from the cell's corner.

Source: Guo et al. 2021, https://arxiv.org/abs/2105.04714, as exported by InsightFace
(https://github.com/deepinsight/insightface).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View, cells
from edgeinfer.heads.boxes import peak_of, threshold
from edgeinfer.heads.instances import distances_to_corners, faces, grid, input_hw
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec

_STRIDES, _ANCHORS = (8, 16, 32), 2


class Scrfd:
    """Outputs are told apart by their columns and ordered by their rows, most first.

    Options: ``strides`` ([8, 16, 32]), ``anchors`` (2 a cell).
    """

    name = "scrfd"
    task = "face"

    def why_not(self, graph: Graph) -> str | None:
        columns = sorted(str(item.shape[-1] if item.shape else 0) for item in graph.outputs)
        levels = len(graph.options.get("strides", _STRIDES))
        if columns not in (
            sorted(["1", "4"] * levels),
            sorted(["1", "4", "10"] * levels),
        ):
            return (
                f"it has {levels} outputs each of 1, of 4 and perhaps of 10 columns, this graph "
                f"has columns of {', '.join(columns)}"
            )
        return None

    def classes(self, graph: Graph) -> int | None:
        return 1

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Poses]:
        """Grids to faces; a batch of one."""
        size = input_hw(spec)
        strides = tuple(spec.head_options.get("strides", _STRIDES))
        anchors = int(spec.head_options.get("anchors", _ANCHORS))
        tables = {columns: _levels(outputs, columns) for columns in (1, 4, 10)}
        boxes, scores, points, peaks = [], [], [], [0.0]
        for level, stride in enumerate(strides):
            score = tables[1][level][:, 0]
            if len(score) != cells(size, (stride,)) * anchors:
                raise SpecError(
                    f"The head 'scrfd' expects {cells(size, (stride,)) * anchors} predictions at "
                    f"stride {stride}, this output has {len(score)}: correct head_options."
                )
            passing = np.flatnonzero(score > threshold(spec, "score"))
            corner = (grid(size, stride, anchors) * stride)[passing]
            reach = tables[4][level][passing].astype(np.float32) * stride
            boxes.append(distances_to_corners(corner, reach))
            scores.append(score[passing].astype(np.float32))
            marks = np.zeros((len(passing), 0, 2), np.float32)
            if tables[10]:
                raw = tables[10][level][passing].astype(np.float32)
                marks = raw.reshape(-1, 5, 2) * stride + corner[:, None]
            points.append(marks)
            peaks.append(peak_of(score))
        parts = np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)
        return [faces(*parts, views[0], spec, float(np.max(peaks)))]


def _levels(outputs: Arrays, columns: int) -> list[Array]:
    """The outputs with that many columns as `(N, columns)`, most rows first."""
    found = [array.reshape(-1, columns) for array in outputs.values() if array.shape[-1] == columns]
    return sorted(found, key=len, reverse=True)
