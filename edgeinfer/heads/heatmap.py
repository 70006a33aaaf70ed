"""Keypoints of one person or hand that fills the frame: maps `[1, K, h, w]`, one for each point.

The point is where its map is largest, moved a quarter of a pixel towards the larger neighbour
(Newell et al. 2016, https://arxiv.org/abs/1603.06937); the map's value there is how sure it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View, only_output
from edgeinfer.heads.boxes import Floats
from edgeinfer.heads.instances import in_frame, input_hw
from edgeinfer.heads.pose import place
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec


class Heatmap:
    """One instance: its box goes around the points, its score is their mean."""

    name = "heatmap"
    task = "pose"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=4)
        if isinstance(shape, str):
            return shape
        if any(isinstance(side, int) and side < 2 for side in shape[2:]):
            return f"its maps have sides of 2 or more, this output is {list(shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Poses]:
        """`[B, K, h, w]` to one set of keypoints for each frame."""
        (output,) = outputs.values()
        height, width = input_hw(spec)
        found = []
        for raw, view in zip(output, views, strict=True):
            peaks = _peaks(raw)
            shares = np.array([width / raw.shape[2], height / raw.shape[1]], np.float32)
            # Maps count pixels by their middle; a picture's coordinates begin at its edge.
            peaks[:, :2] = (peaks[:, :2] + 0.5) * shares
            box = np.concatenate((peaks[:, :2].min(axis=0), peaks[:, :2].max(axis=0)))[None]
            points, flags = place(peaks[None], view)
            score = np.array([np.clip(peaks[:, 2].mean(), 0, 1)], np.float32)
            hidden = bool(spec.keep_classes) and 0 not in spec.keep_classes
            if hidden or score[0] <= spec.thresholds.get("score", -1.0):
                score, box, points = score[:0], box[:0], points[:0]
            ids = np.zeros(len(score), np.int64)
            found.append(Poses(in_frame(box, view), score, ids, spec.labels, flags, points))
        return found


def _peaks(maps: Array) -> Floats:
    """`(K, 3)`: column, row and value of each map's largest, to a quarter of a pixel."""
    count, rows, columns = maps.shape
    flat = maps.reshape(count, -1)
    best = flat.argmax(axis=1)
    y, x = np.divmod(best, columns)
    numbers = np.arange(count)
    inner_x, inner_y = np.clip(x, 1, columns - 2), np.clip(y, 1, rows - 2)
    across = np.sign(maps[numbers, y, inner_x + 1] - maps[numbers, y, inner_x - 1])
    along = np.sign(maps[numbers, inner_y + 1, x] - maps[numbers, inner_y - 1, x])
    across = np.where((x == inner_x) & (columns > 2), across, 0)
    along = np.where((y == inner_y) & (rows > 2), along, 0)
    found = np.stack((x + across / 4, y + along / 4, flat[numbers, best]), axis=1)
    return np.asarray(found, np.float32)
