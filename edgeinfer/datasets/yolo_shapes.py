"""YOLO label files with more than boxes: outlines, keypoints, turned boxes.

The formats are Ultralytics' (https://docs.ultralytics.com/datasets/segment, /pose, /obb); numbers
are shares of the picture's width and height.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeinfer.datasets.base import MaskTruth, OrientedTruth, PoseTruth
from edgeinfer.datasets.yolo_labels import Row, check_shares, numbers, read_rows
from edgeinfer.results import Mask


def read_masks(path: Path, size_wh: tuple[int, int], classes: int | None) -> MaskTruth:
    """Read outlines, `class x1 y1 x2 y2 ...`; a box (`class x y w h`) is the mask of its inside.

    Raises:
        DatasetError: naming file and line of what does not fit.
    """

    def parse(fields: list[str]) -> Row:
        values = numbers(fields, classes)
        shape = values[1:]
        check_shares(shape)
        if len(shape) == 4:
            x, y, w, h = shape
            left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
            return values[0], left, top, right, top, right, bottom, left, bottom
        if len(shape) < 6 or len(shape) % 2:
            raise ValueError(f"it has {len(values)} values, not 7, 9, ... (an outline)")
        return tuple(values)

    rows = read_rows(path, parse, "'class x1 y1 x2 y2 x3 y3 ...', each from 0 to 1")
    size = np.array(size_wh, np.float64)
    masks = tuple(fill(np.array(row[1:]).reshape(-1, 2) * size, size_wh) for row in rows)
    return MaskTruth(masks, _ids(rows))


def read_oriented(path: Path, size_wh: tuple[int, int], classes: int | None) -> OrientedTruth:
    """Read turned boxes, `class x1 y1 x2 y2 x3 y3 x4 y4`.

    Raises:
        DatasetError: naming file and line of what does not fit.
    """

    def parse(fields: list[str]) -> Row:
        values = numbers(fields, classes)
        if len(values) != 9:
            raise ValueError(f"it has {len(values)} values, not 9 (a turned box)")
        return tuple(values)

    rows = read_rows(path, parse, "'class x1 y1 x2 y2 x3 y3 x4 y4', each from 0 to 1")
    table = np.array(rows, np.float64).reshape(-1, 9)
    polygons = table[:, 1:].reshape(-1, 4, 2) * np.array(size_wh, np.float64)
    return OrientedTruth(polygons, _ids(rows))


def read_poses(
    path: Path, size_wh: tuple[int, int], classes: int | None, kpt_shape: tuple[int, int]
) -> PoseTruth:
    """Read boxes with keypoints, `class x y w h px1 py1 [v1] ...`.

    A point is not labelled where its visibility is 0, or, without one, where it lies at 0, 0 or
    left of or above the picture.

    Raises:
        DatasetError: naming file and line of what does not fit.
    """
    count, each = kpt_shape
    wanted = 5 + count * each

    def parse(fields: list[str]) -> Row:
        values = numbers(fields, classes)
        if len(values) != wanted:
            raise ValueError(f"it has {len(values)} values, not {wanted} ({count} keypoints)")
        check_shares(values[1:5])
        return tuple(values)

    form = f"'class x y width height', then {count} keypoints of {each} values"
    rows = read_rows(path, parse, form)
    table = np.array(rows, np.float64).reshape(-1, wanted)
    size = np.array(size_wh, np.float64)
    centre, half = table[:, 1:3] * size, table[:, 3:5] * size / 2
    points = table[:, 5:].reshape(-1, count, each)
    if each == 3:
        shown = points[:, :, 2]
    else:
        shown = np.asarray((points > 0).any(axis=2) & (points >= 0).all(axis=2), np.float64)
    placed = np.concatenate((points[:, :, :2] * size, shown[:, :, None]), axis=2)
    return PoseTruth(np.hstack((centre - half, centre + half)), _ids(rows), placed)


def fill(outline_xy: NDArray[np.float64], size_wh: tuple[int, int]) -> Mask:
    """The pixels whose centres lie inside an outline, by the even-odd rule.

    Args:
        outline_xy: `(N, 2)` in pixels of the picture.
        size_wh: of the picture.
    """
    width, height = size_wh
    low, high = outline_xy.min(axis=0), outline_xy.max(axis=0)
    x0, y0 = (int(edge) for edge in np.clip(np.floor(low), 0, (width, height)))
    x1, y1 = (int(edge) for edge in np.clip(np.ceil(high), 0, (width, height)))
    middle = (np.arange(y0, y1) + 0.5)[:, None]
    (ax, ay), (bx, by) = outline_xy.T, np.roll(outline_xy, -1, axis=0).T
    rows, edges = np.nonzero((ay <= middle) != (by <= middle))
    share = (middle[rows, 0] - ay[edges]) / (by - ay)[edges]
    crossing = ax[edges] + share * (bx - ax)[edges]
    columns = np.clip(np.ceil(crossing - 0.5), x0, x1).astype(int) - x0
    # Every crossing of a row turns what lies right of it from outside to inside, or back.
    turns = np.zeros((y1 - y0, x1 - x0 + 1), np.int32)
    np.add.at(turns, (rows, columns), 1)
    inside = turns.cumsum(axis=1)[:, :-1] % 2 == 1
    return Mask((x0, y0), inside, size_wh)


def _ids(rows: list[Row]) -> NDArray[np.int64]:
    return np.array([row[0] for row in rows], np.int64)
