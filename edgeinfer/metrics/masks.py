"""How much masks and turned boxes overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.metrics.detection import iou_matrix
from edgeinfer.results import Mask


def mask_iou(ours: Sequence[Mask], theirs: Sequence[Mask]) -> NDArray[np.float64]:
    """Intersection over union of the pixels of every pair: `(D, G)` float64."""
    found = np.zeros((len(ours), len(theirs)))
    areas = np.array([mask.area for mask in theirs])
    for row, one in enumerate(ours):
        own = one.area
        for column, other in enumerate(theirs):
            shared = _shared(one, other)
            if shared:
                found[row, column] = shared / (own + areas[column] - shared)
    return found


def _shared(one: Mask, other: Mask) -> int:
    (ax, ay), (bx, by) = one.corner_xy, other.corner_xy
    x0, y0 = max(ax, bx), max(ay, by)
    x1 = min(ax + one.pixels.shape[1], bx + other.pixels.shape[1])
    y1 = min(ay + one.pixels.shape[0], by + other.pixels.shape[0])
    if x1 <= x0 or y1 <= y0:
        return 0
    a = one.pixels[y0 - ay : y1 - ay, x0 - ax : x1 - ax]
    b = other.pixels[y0 - by : y1 - by, x0 - bx : x1 - bx]
    return int(np.count_nonzero(a & b))


def polygon_iou(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every pair of convex polygons, `(D, 4, 2)` and `(G, 4, 2)`."""
    a, b = _ordered(ours), _ordered(theirs)
    found = np.zeros((len(a), len(b)))
    near = iou_matrix(_around(a), _around(b)) > 0
    for row, column in zip(*np.nonzero(near), strict=True):
        shared = _area(_clipped(a[row], b[column]))
        union = _area(a[row]) + _area(b[column]) - shared
        found[row, column] = shared / union if union > 0 else 0.0
    return found


def _around(polygons: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate((polygons.min(axis=1), polygons.max(axis=1)), axis=1).reshape(-1, 4)


def _ordered(polygons: NDArray[np.floating]) -> NDArray[np.float64]:
    """The corners so that each polygon's signed area is positive."""
    whole = np.asarray(polygons, np.float64).reshape(-1, 4, 2)
    x, y = whole[..., 0], whole[..., 1]
    signed = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    return np.where((signed < 0)[:, None, None], whole[:, ::-1], whole)


def _area(polygon: NDArray[np.float64]) -> float:
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def _clipped(subject: NDArray[np.float64], clip: NDArray[np.float64]) -> NDArray[np.float64]:
    """The common part of two convex polygons (Sutherland and Hodgman 1974)."""
    for start, end in zip(clip, np.roll(clip, -1, axis=0), strict=True):
        if not len(subject):
            break
        edge = end - start
        # Positive on the inner side of this edge.
        side = edge[0] * (subject[:, 1] - start[1]) - edge[1] * (subject[:, 0] - start[0])
        following = np.roll(side, -1)
        crossing = side * following < 0
        share = np.divide(side, side - following, out=np.zeros_like(side), where=crossing)
        between = subject + share[:, None] * (np.roll(subject, -1, axis=0) - subject)
        both = np.stack((subject, between), axis=1).reshape(-1, 2)
        kept = np.stack((side >= 0, crossing), axis=1).ravel()
        subject = both[kept]
    return subject
