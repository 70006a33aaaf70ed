"""What lies about without being a digit: tape, stains, screws, bar codes, letters, scratches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Letters that nobody takes for a digit; O, I, S, Z, B, L, G and their like are left out.
_LETTERS = "AEFHKMNRTWXY#&%"


def scatter(canvas: Array, rng: np.random.Generator, count: int, unit: float) -> None:
    """Draws `count` random pieces of clutter into (H, W, 3) float32 BGR, in place."""
    painters = (_tape, _stain, _screw, _code, _letter, _shape, _scratch)
    height, width = canvas.shape[:2]
    for _ in range(count):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        painters[int(rng.integers(len(painters)))](canvas, rng, centre, unit)


def draw_barcode(
    canvas: Array, rng: np.random.Generator, box_xywh: tuple[int, int, int, int]
) -> None:
    """Draws dark bars of random width across the box, in place."""
    x, y, width, height = box_xywh
    position = y
    while position < y + height:
        bar = int(rng.integers(1, 4))
        end = min(position + bar, y + height) - 1
        cv2.rectangle(canvas, (x, position), (x + width - 1, end), (25.0, 25.0, 25.0), -1)
        position += bar + int(rng.integers(1, 4))


def _colour(rng: np.random.Generator, low: float = 20, high: float = 235) -> tuple[float, ...]:
    return tuple(rng.uniform(low, high, 3).tolist())


def _corners(
    rng: np.random.Generator, centre: tuple[int, int], size_wh: tuple[float, float]
) -> NDArray[np.int32]:
    rectangle = (tuple(map(float, centre)), size_wh, float(rng.uniform(0, 180)))
    corners: NDArray[np.int32] = cv2.boxPoints(rectangle).astype(np.int32)
    return corners


def _tape(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    size = (rng.uniform(30, 110) * unit, rng.uniform(6, 16) * unit)
    cv2.fillPoly(canvas, [_corners(rng, centre, size)], _colour(rng, 60), cv2.LINE_AA)


def _stain(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    mask = np.zeros(canvas.shape[:2], np.float32)
    for _ in range(int(rng.integers(2, 6))):
        offset = rng.normal(0, 9, 2) * unit
        axes = tuple(int(v) for v in rng.uniform(4, 20, 2) * unit + 1)
        at = (int(centre[0] + offset[0]), int(centre[1] + offset[1]))
        cv2.ellipse(mask, at, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    reach = int(60 * unit)
    y0, x0 = max(centre[1] - reach, 0), max(centre[0] - reach, 0)
    window = np.s_[y0 : centre[1] + reach, x0 : centre[0] + reach]
    soft = cv2.GaussianBlur(mask[window], (0, 0), 2.5 * unit)[..., None]
    canvas[window] *= 1 + soft * np.float32(rng.uniform(-0.5, 0.5))


def _screw(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    radius = int(rng.uniform(4, 9) * unit) + 1
    level = float(rng.uniform(90, 200))
    cv2.circle(canvas, centre, radius, (level, level, level), -1, cv2.LINE_AA)
    angle = rng.uniform(0, np.pi)
    dx, dy = int(np.cos(angle) * radius * 0.7), int(np.sin(angle) * radius * 0.7)
    ends = (centre[0] - dx, centre[1] - dy), (centre[0] + dx, centre[1] + dy)
    cv2.line(canvas, *ends, (40.0, 40.0, 40.0), max(1, radius // 4), cv2.LINE_AA)


def _code(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    width, height = (int(v * unit) for v in (rng.uniform(14, 34), rng.uniform(26, 60)))
    x, y = centre[0] - width // 2, centre[1] - height // 2
    cv2.rectangle(
        canvas, (x - 3, y - 3), (x + width + 2, y + height + 2), _colour(rng, 190, 240), -1
    )
    draw_barcode(canvas, rng, (x, y, width, height))


def _letter(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    text = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 4))))
    scale = rng.uniform(0.5, 1.9) * unit
    colour = _colour(rng, 130) if rng.random() < 0.7 else _colour(rng, 0, 40)
    thickness = max(1, round(rng.uniform(1, 4) * unit))
    face = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    mask = np.zeros(canvas.shape[:2], np.uint8)  # OpenCV 5 writes text into uint8 only
    cv2.putText(mask, text, centre, face, scale, 255, thickness, cv2.LINE_AA)
    where = mask > 127
    canvas[where] = colour


def _shape(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    count = int(rng.integers(3, 6))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(8, 26) * unit
    points = np.stack((np.cos(angles), np.sin(angles)), 1) * radius + centre
    if rng.random() < 0.5:
        cv2.fillPoly(canvas, [points.astype(np.int32)], _colour(rng), cv2.LINE_AA)
    else:
        cv2.polylines(canvas, [points.astype(np.int32)], True, _colour(rng), 2, cv2.LINE_AA)


def _scratch(canvas: Array, rng: np.random.Generator, centre: tuple[int, int], unit: float) -> None:
    points = np.cumsum(rng.normal(0, 16, (int(rng.integers(2, 6)), 2)) * unit, axis=0) + centre
    cv2.polylines(canvas, [points.astype(np.int32)], False, _colour(rng), 1, cv2.LINE_AA)
