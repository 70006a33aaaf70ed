"""What of a result is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.draw.canvas import Canvas, class_color
from edgeinfer.frames import Array, Arrays
from edgeinfer.results import (
    Anomaly,
    Classes,
    ClassMap,
    Detections,
    Oriented,
    Payload,
    Poses,
    Result,
    Segments,
    TextLines,
    label_of,
)

# Points that the model is less sure of are not drawn.
_SURE_POINT = 0.5


def annotate(
    picture: Array | Arrays, result: Result[Payload], *, header: str | None = None
) -> Array:
    """Draw a result into a copy of its picture.

    The font of OpenCV 4 knows ASCII only: accents are dropped, what has no ASCII letter becomes
    ``?``.

    Args:
        picture: `(H, W, 3)` BGR or `(H, W)` grey, uint8; never changed.
        result: boxes and labels (with masks, points, corners) for objects, tints for `ClassMap`,
            outlines for `TextLines`, lines of text for `Classes` and `Anomaly`, else nothing.
        header: a line for the top left corner.

    Returns:
        `(H, W, 3)` uint8 BGR, an array of its own.
    """
    if not isinstance(picture, np.ndarray):
        raise TypeError("only pictures can be drawn on")
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    canvas = Canvas(np.array(picture, order="C"))
    value: Any = result.value
    lines = [header] if header else []
    if isinstance(value, (Detections, Segments, Poses, Oriented)):
        _draw_objects(canvas, value)
    elif isinstance(value, ClassMap):
        canvas.tint_classes(value.class_ids)
    elif isinstance(value, TextLines):
        _draw_lines(canvas, value)
    lines += _said(value)
    canvas.corner(lines)
    return canvas.pixels


def _said(value: Any) -> list[str]:
    """What the corner says of a whole frame."""
    if isinstance(value, Classes):
        rows = zip(value.class_ids.tolist(), value.scores.tolist(), strict=True)
        return [f"{label_of(value.labels, number)} {score:.1%}" for number, score in rows]
    if isinstance(value, Anomaly):
        verdict = {None: "", True: " ANOMALY", False: " normal"}[value.is_anomaly]
        return [f"{value.score:.4g}{verdict}"]
    if isinstance(value, TextLines) and value.polygons_xy is None:
        return list(value.texts)
    return []


def _draw_objects(canvas: Canvas, value: Detections | Segments | Poses | Oriented) -> None:
    rows = list(
        zip(value.boxes_xyxy.tolist(), value.scores.tolist(), value.class_ids.tolist(), strict=True)
    )
    # The best one last, so that it lies on top; labels after all boxes, so that none is crossed.
    drawn = []
    for number in reversed(range(len(rows))):
        box, score, class_id = rows[number]
        edges = canvas.inside(box)
        if edges is not None:
            color = class_color(class_id)
            if isinstance(value, Segments):
                canvas.tint(value.masks[number].corner_xy, value.masks[number].pixels, color)
            if isinstance(value, Oriented):
                canvas.polygon(value.polygons_xy[number], color)
            else:
                canvas.box(edges, color)
            if isinstance(value, Poses):
                _draw_points(canvas, value.keypoints_xys[number])
            drawn.append((edges, f"{label_of(value.labels, class_id)} {score:.2f}", class_id))
    for edges, text, class_id in drawn:
        canvas.label(edges, text, class_color(class_id))


def _draw_points(canvas: Canvas, points_xys: Array) -> None:
    for number, (x, y, sure) in enumerate(points_xys.tolist()):
        if sure >= _SURE_POINT:
            canvas.point(x, y, class_color(number + 1))


def _draw_lines(canvas: Canvas, value: TextLines) -> None:
    if value.polygons_xy is None:
        return
    for number, polygon in enumerate(value.polygons_xy):
        canvas.polygon(polygon, class_color(1))
        edges = canvas.inside([*polygon.min(axis=0).tolist(), *polygon.max(axis=0).tolist()])
        if edges is not None and value.texts:
            canvas.label(edges, value.texts[number], class_color(1))
