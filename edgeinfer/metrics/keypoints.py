"""How near keypoints are: COCO's object keypoint similarity (OKS).

Source: https://cocodataset.org/#keypoints-eval and `computeOks` in cocoeval.py of pycocotools: each
labelled point counts exp(-distance^2 / (2 * area * (2 sigma)^2)), the mean over them is the
similarity; of objects without labelled points the distance to their surroundings counts instead,
and they need not be found. At most 20 objects per picture enter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Spread of people's labelling, by joint, from COCO.
COCO_SIGMAS: NDArray[np.float64] = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)
MAX_POSES = 20
# COCO takes the area of the object's outline. Labels with boxes only have none; Ultralytics takes
# this share of the box, which is COCO's mean.
AREA_OF_BOX = 0.53


def sigmas_of(count: int) -> NDArray[np.float64]:
    """COCO's sigmas for 17 points; else 1 / count for every point, as Ultralytics has it."""
    return COCO_SIGMAS if count == len(COCO_SIGMAS) else np.full(count, 1 / max(1, count))


def oks_matrix(
    points_xy: NDArray[np.floating],
    truth_xyv: NDArray[np.floating],
    truth_boxes: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Similarity of every found with every true set of points.

    Args:
        points_xy: `(D, K, 2)` in pixels.
        truth_xyv: `(G, K, 3)`: x, y, and 0 where a point is not labelled.
        truth_boxes: `(G, 4)` corners.

    Returns:
        `(D, G)` float64 in [0, 1].
    """
    found = np.asarray(points_xy, np.float64)[:, None]
    truth = np.asarray(truth_xyv, np.float64)[None]
    boxes = np.asarray(truth_boxes, np.float64)
    size = boxes[:, 2:] - boxes[:, :2]
    spread = (2 * sigmas_of(truth_xyv.shape[1])) ** 2
    area = size.prod(axis=1) * AREA_OF_BOX + np.spacing(1)
    # Of objects without labels: how far outside a box three times as wide and high.
    low, high = (boxes[:, :2] - size)[None, :, None], (boxes[:, 2:] + size)[None, :, None]
    outside = np.maximum(0, low - found) + np.maximum(0, found - high)
    labelled = np.asarray(truth[..., 2] > 0)
    any_label = np.asarray(labelled.any(axis=2))[..., None]
    apart = np.where(any_label[..., None], found - truth[..., :2], outside)
    error = (apart**2).sum(axis=3) / spread / area[None, :, None] / 2
    counted = np.where(any_label, labelled, True)
    return np.asarray((np.exp(-error) * counted).sum(axis=2) / np.maximum(1, counted.sum(axis=2)))
