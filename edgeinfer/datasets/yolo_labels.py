"""YOLO label files: one object per line, `class x y w h` or `class x1 y1 x2 y2 x3 y3 ...`.

Numbers are shares of the picture's width and height; a polygon counts as the box around it. The
format is Ultralytics' (https://docs.ultralytics.com/datasets/detect/).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeinfer.datasets.base import BoxTruth, DatasetError

# Labelling tools round to a few digits and overshoot the border by a hair; more is an error.
_TOLERANCE = 0.01


def label_path(picture: Path) -> Path:
    """Where the labels of a picture lie: the last `images` of its path becomes `labels`."""
    parts = list(picture.parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def read_boxes(path: Path, size_wh: tuple[int, int], classes: int | None) -> BoxTruth:
    """Read the objects of one picture; a file that does not exist means none.

    The same object twice in a file counts once, as in Ultralytics' loader.

    Args:
        path: the label file.
        size_wh: the picture's width and height in pixels.
        classes: how many classes there are, None where unknown.

    Raises:
        DatasetError: naming file and line of what does not fit.
    """
    form = "'class x_center y_center width height', each from 0 to 1"
    rows = read_rows(path, lambda fields: _box(fields, classes), form)
    table = np.array(rows, np.float64).reshape(-1, 5)
    return BoxTruth(_to_pixels(table[:, 1:], size_wh), table[:, 0].astype(np.int64))


Row = tuple[float, ...]


def read_rows(path: Path, parse: Callable[[list[str]], Row], form: str) -> list[Row]:
    """The lines of a label file as numbers, each line once; a file that does not exist has none.

    Args:
        parse: a line's fields to numbers; raises ValueError with what is wrong.
        form: what a line should be, for messages.

    Raises:
        DatasetError: naming file and line of what does not fit.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"The label file {path} cannot be read as text: {error}.") from error
    rows: dict[Row, None] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                rows[parse(line.split())] = None
            except ValueError as error:
                raise DatasetError(
                    f"{path}, line {number}: {error}. The line is {line.strip()[:80]!r}; a line "
                    f"is {form}."
                ) from error
    return list(rows)


def numbers(fields: list[str], classes: int | None) -> list[float]:
    """A line's fields as numbers, of which the first is a class.

    Raises:
        ValueError: if one is none, or there is no such class.
    """
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise ValueError("it holds something that is no number") from None
    class_id = values[0]
    if not (class_id >= 0 and class_id.is_integer()):
        raise ValueError(f"the class {fields[0]} is not a whole number from 0")
    if classes is not None and class_id >= classes:
        raise ValueError(f"the class {fields[0]} does not exist: there are {classes} names")
    return values


def check_shares(values: list[float]) -> None:
    """Raises:
    ValueError: if a coordinate is not a share of the picture.
    """
    if not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in values):
        raise ValueError("it holds a coordinate that is not between 0 and 1")


def _box(fields: list[str], classes: int | None) -> Row:
    """Class, left, top, right, bottom as shares of the picture."""
    values = numbers(fields, classes)
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"it has {len(values)} values, not 5 (a box) or 7, 9, ... (a polygon)")
    class_id, shape = values[0], values[1:]
    check_shares(shape)
    if len(shape) == 4:
        x, y, w, h = shape
        if w < 0 or h < 0:
            raise ValueError("its width or height is negative")
        return class_id, x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return class_id, min(shape[::2]), min(shape[1::2]), max(shape[::2]), max(shape[1::2])


def _to_pixels(boxes: NDArray[np.float64], size_wh: tuple[int, int]) -> NDArray[np.float64]:
    return np.asarray(boxes * np.array([*size_wh, *size_wh], np.float64))
