"""Rows that a fitted estimator could meet: its own parameters tell the range of each column, and
what stands for a missing value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.frames import Array


def rows_in_range(estimator: Any, width: int, count: int) -> Array:
    """`(count, width)` float64, uniform within what was seen in training, as far as that is told.

    Multiples of 1/8 within a range that is no narrower than 4, so that float32 holds them exactly,
    as it holds counts and pixels.
    """
    low, high = _range(estimator, width)
    random = np.random.default_rng(0)
    rows = low + random.random((count, width)) * (high - low)
    return np.asarray(np.where(high - low >= 4, np.round(rows * 8) / 8, rows).astype(np.float32))


def with_gaps(rows: Array, gap: float, takes: Callable[[Array], bool]) -> Array:
    """The rows with values missing in the first half, in each column that takes that.

    Args:
        rows: `(count, width)`.
        gap: what stands for a missing value.
        takes: whether the estimator can be run on rows.
    """
    made: Array = rows.copy()
    half = len(rows) // 2
    missing = np.random.default_rng(1).random((half, rows.shape[1])) < 0.2
    for column in range(rows.shape[1]):
        probe = rows[:2].copy()
        probe[0, column] = gap
        if takes(probe):
            made[:half, column][missing[:, column]] = gap
    return made


def _range(estimator: Any, width: int) -> tuple[Array, Array]:
    """The lowest and highest value of each column; -1 and 1 where nothing is known."""
    first = estimator
    while getattr(first, "steps", None):
        first = first.steps[0][1]
    if _fits(first, "data_min_", width):
        return _wide(first.data_min_, first.data_max_)
    if _fits(first, "mean_", width):
        spread = np.sqrt(np.asarray(getattr(first, "var_", 1.0)))
        return _wide(first.mean_ - 2 * spread, first.mean_ + 2 * spread)
    for name in ("support_vectors_", "cluster_centers_", "_fit_X", "theta_"):
        points: Any = getattr(first, name, None)
        if getattr(points, "ndim", 0) == 2 and points.shape[1] == width:
            dense = np.asarray(points)
            return _wide(dense.min(axis=0), dense.max(axis=0))
    return _of_trees(first, width)


def _fits(estimator: Any, name: str, width: int) -> bool:
    value = getattr(estimator, name, None)
    return getattr(value, "shape", None) == (width,)


def _wide(low: Any, high: Any) -> tuple[Array, Array]:
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    same = high <= low
    return np.where(same, low - 1, low), np.where(same, high + 1, high)


def _of_trees(estimator: Any, width: int) -> tuple[Array, Array]:
    """Where the trees of a forest divide each column."""
    low, high = np.full(width, -1.0), np.full(width, 1.0)
    seen = np.zeros(width, bool)
    members: Any = getattr(estimator, "estimators_", ())
    members = members.ravel() if isinstance(members, np.ndarray) else members
    for holder in (estimator, *members):
        tree = getattr(holder, "tree_", None)
        if tree is None or tree.n_features != width:
            continue
        for column, threshold in zip(tree.feature, tree.threshold, strict=True):
            if column < 0:
                continue
            if not seen[column]:
                low[column] = high[column] = threshold
                seen[column] = True
            low[column] = min(low[column], threshold)
            high[column] = max(high[column], threshold)
    return np.where(seen, low - 1, low), np.where(seen, high + 1, high)
