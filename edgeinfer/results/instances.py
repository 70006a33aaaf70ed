"""Objects: boxes, and what may come with them: masks, keypoints, a turned box."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass
from edgeinfer.results.masks import Mask
from edgeinfer.results.record import label_of


@dataclass(frozen=True, eq=False)
class _Instances:
    """Objects, best first.

    Attributes:
        boxes_xyxy: `(N, 4)` float32 in pixels of the original frame.
        scores: `(N,)` float32 in [0, 1].
        class_ids: `(N,)` int64.
        labels: every label of the model.
        flags: ``nonfinite`` where the graph gave numbers that are none; such objects are left out.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def _rows(self) -> list[dict[str, Any]]:
        rows = zip(
            self.class_ids.tolist(), self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True
        )
        return [
            {
                "label": label_of(self.labels, class_id),
                "class_id": class_id,
                "score": round(score, 6),
                "box_xyxy": [round(edge, 3) for edge in box],
            }
            for class_id, score, box in rows
        ]


@dataclass(frozen=True, eq=False)
class Detections(_Instances):
    """Objects with nothing but a box."""

    def to_dict(self) -> dict[str, Any]:
        return {"detections": self._rows()}


@dataclass(frozen=True, eq=False)
class Segments(_Instances):
    """Objects with the pixels that they cover.

    Attributes:
        masks: one per object.
    """

    masks: tuple[Mask, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        rows = zip(self._rows(), self.masks, strict=True)
        return {"instances": [{**row, "mask_rle": mask.to_dict()} for row, mask in rows]}


@dataclass(frozen=True, eq=False)
class Poses(_Instances):
    """Objects with keypoints: people and their joints, faces and their landmarks.

    Attributes:
        keypoints_xys: `(N, K, 3)` float32: x and y in pixels of the original frame, and how sure
            the model is that the point can be seen (1 where it does not say). K is 0 for models
            that give boxes only.
    """

    keypoints_xys: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 0, 3), np.float32)
    )

    def to_dict(self) -> dict[str, Any]:
        points = np.round(self.keypoints_xys.astype(np.float64), 3).tolist()
        rows = zip(self._rows(), points, strict=True)
        return {"instances": [{**row, "keypoints_xys": found} for row, found in rows]}


@dataclass(frozen=True, eq=False)
class Oriented(_Instances):
    """Objects with a box that may be turned; `boxes_xyxy` are the upright boxes around them.

    Attributes:
        polygons_xy: `(N, 4, 2)` float32 corners in order around the box, not cut to the frame.
    """

    polygons_xy: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 4, 2), np.float32)
    )

    def to_dict(self) -> dict[str, Any]:
        corners = np.round(self.polygons_xy.astype(np.float64), 3).tolist()
        rows = zip(self._rows(), corners, strict=True)
        return {"instances": [{**row, "polygon_xy": polygon} for row, polygon in rows]}
