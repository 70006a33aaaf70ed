"""Faces with five landmarks: YuNet's twelve outputs, `cls`, `obj`, `bbox`, `kps` at three strides.

Source: Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y, decoded as OpenCV's
FaceDetectorYN does (`face_detect.cpp`): score = sqrt(cls * obj); centres and landmarks are offsets
from the cell's corner, sizes logarithms, all in strides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.heads.boxes import peak_of, threshold, xywh_to_xyxy
from edgeinfer.heads.instances import faces, grid, input_hw
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec

_STRIDES = (8, 16, 32)
_COLUMNS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class YuNet:
    """Outputs are found by their names: `cls_8`, ..., `kps_32`."""

    name = "yunet"
    task = "face"

    def why_not(self, graph: Graph) -> str | None:
        shapes = {item.name: item.shape for item in graph.outputs}
        for kind, columns in _COLUMNS.items():
            for stride in _STRIDES:
                shape = shapes.get(f"{kind}_{stride}")
                if shape is None or len(shape) != 3 or shape[2] != columns:
                    seen = "is missing" if shape is None else f"is {list(shape)}"
                    return f"its output {kind}_{stride} is [1, N, {columns}]; here it {seen}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return 1

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Poses]:
        """Three grids to faces with right eye, left eye, nose, right and left corner of the mouth
        (the person's own right)."""
        size = input_hw(spec)
        limit = threshold(spec, "score")
        found = []
        for index, view in enumerate(views):
            boxes, scores, points, peaks = [], [], [], [0.0]
            for stride in _STRIDES:
                each = (outputs[f"{kind}_{stride}"][index] for kind in _COLUMNS)
                seen, there, box, marks = each
                score = np.sqrt(np.clip(seen[:, 0], 0, 1) * np.clip(there[:, 0], 0, 1))
                passing = np.flatnonzero(score > limit)
                corner = grid(size, stride)[passing]
                rows = box[passing].astype(np.float32)
                centres = (rows[:, :2] + corner) * stride
                boxes.append(xywh_to_xyxy(np.hstack((centres, np.exp(rows[:, 2:]) * stride))))
                scores.append(score[passing].astype(np.float32))
                landmarks = marks[passing].astype(np.float32).reshape(-1, 5, 2)
                points.append((landmarks + corner[:, None]) * stride)
                peaks.append(peak_of(score))
            parts = np.concatenate(boxes), np.concatenate(scores), np.concatenate(points)
            found.append(faces(*parts, view, spec, float(np.max(peaks))))
        return found
