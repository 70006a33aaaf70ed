"""NanoDet: `[1, N, classes + 4 * bins]` of class probabilities and distributions of distances.

Source: https://github.com/RangiLyu/nanodet, with the distances of Li et al. 2020
(https://arxiv.org/abs/2006.04388): each side's is the mean of its bins under a softmax, in
strides from the cell's own point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View, cells, only_output
from edgeinfer.heads.boxes import Floats, finish, peak_of, threshold
from edgeinfer.heads.instances import distances_to_corners, grid, input_hw
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec

_STRIDES = (8, 16, 32, 64)
_BINS = 8
_USUAL_COLUMNS = 112  # COCO's 80 classes; other numbers of columns are not guessed


class NanoDet:
    """Options: ``strides`` ([8, 16, 32, 64], NanoDet-Plus), ``classes`` (else what 8 bins a side
    leave).
    """

    name = "nanodet"
    task = "detect"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=3)
        if isinstance(shape, str):
            return shape
        if isinstance(shape[2], int) and shape[2] <= 4 * _BINS and "classes" not in graph.options:
            return f"its rows have classes + {4 * _BINS} values, this output is {list(shape)}"
        if graph.guessing and not graph.options and shape[2] != _USUAL_COLUMNS:
            return f"its usual rows have {_USUAL_COLUMNS} values, this output is {list(shape)}"
        if graph.input_hw is not None and isinstance(shape[1], int):
            usual = cells(graph.input_hw, graph.options.get("strides", _STRIDES))
            if shape[1] != usual:
                return f"it gives {usual} predictions for this input, this output has {shape[1]}"
        return None

    def classes(self, graph: Graph) -> int | None:
        given, columns = graph.options.get("classes"), graph.outputs[0].shape[2]
        if given is not None:
            return int(given)
        return columns - 4 * _BINS if isinstance(columns, int) else None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """Rows to detections."""
        (output,) = outputs.values()
        strides = tuple(spec.head_options.get("strides", _STRIDES))
        classes = int(spec.head_options.get("classes", output.shape[2] - 4 * _BINS))
        if (output.shape[2] - classes) % 4 or output.shape[2] <= classes:
            raise SpecError(
                f"The head 'nanodet' got rows of {output.shape[2]} values, which {classes} classes "
                f"do not leave for 4 distances: correct head_options."
            )
        size = input_hw(spec)
        corners = np.concatenate([grid(size, stride) * stride for stride in strides])
        steps = np.repeat(
            np.array(strides, np.float32), [cells(size, (stride,)) for stride in strides]
        )
        found = []
        for raw, view in zip(output, views, strict=True):
            best = raw[:, :classes].max(axis=1)
            passing = np.flatnonzero(best > threshold(spec, "score"))
            rows = raw[passing].astype(np.float32)
            reach = _expected(rows[:, classes:]) * steps[passing, None]
            boxes = distances_to_corners(corners[passing], reach)
            ids = rows[:, :classes].argmax(axis=1)
            kept = best[passing].astype(np.float32)
            found.append(finish(boxes, kept, ids, view, spec, peak=peak_of(best)))
        return found


def _expected(raw: Floats) -> Floats:
    """`(N, 4 * bins)` to the mean bin of each side: `(N, 4)`."""
    bins = raw.reshape(len(raw), 4, -1)
    powers = np.exp(bins - bins.max(axis=2, keepdims=True))
    powers /= powers.sum(axis=2, keepdims=True)
    return np.asarray(powers @ np.arange(bins.shape[2], dtype=np.float32))
