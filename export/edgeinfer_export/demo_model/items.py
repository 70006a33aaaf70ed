"""One digit on what carries it: parcel, paper label, metal plate, tile, or the bare belt."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.demo_model.clutter import draw_barcode
from edgeinfer_export.demo_model.digits import DigitPool

Array = NDArray[np.float32]

CARRIERS = ("parcel", "label", "metal", "tile", "bare")
# The 8x8 digit with a margin of 2 is enlarged 8 times before it is turned and scaled in one step.
_MARGIN, _ENLARGE = 2, 8


@dataclass(frozen=True, eq=False)
class Item:
    """A digit ready to be put on the belt.

    Attributes:
        label: The digit.
        digit_index: Its row in `sklearn.datasets.load_digits`.
        bgr: (H, W, 3) float32 BGR in [0, 255].
        alpha: (H, W) float32 in [0, 1], what the item covers.
        solid: Whether it throws a shadow.
        box_xyxy: Extent of the ink in pixels of the patch.
    """

    label: int
    digit_index: int
    bgr: Array
    alpha: Array
    solid: bool
    box_xyxy: tuple[int, int, int, int]


def make_item(
    pool: DigitPool, rng: np.random.Generator, unit: float, label: int | None = None
) -> Item:
    """Draws a random digit on a random carrier.

    Args:
        pool: Where the digit comes from.
        rng: Every random choice comes from here.
        unit: Pixels per pixel of a 640 pixels wide frame.
        label: The digit to draw; None for a random one.
    """
    position = pool.draw(rng, label)
    carrier = str(rng.choice(CARRIERS, p=(0.3, 0.25, 0.15, 0.15, 0.15)))
    ink_px = rng.uniform(36, 84) * unit
    width, height = ink_px * rng.uniform(1.25, 2.0), ink_px * rng.uniform(1.25, 1.7)
    side = int(np.ceil(np.hypot(width, height))) + 4
    angle = rng.uniform(-14, 14)
    bgr, alpha = _carrier(carrier, rng, (width, height), ink_px, side)
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1.0)
    bgr = cv2.warpAffine(bgr, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(alpha, turn, (side, side))
    ink = _ink(pool.images[position], rng, ink_px, angle + rng.uniform(-6, 6), side)
    colour = _ink_colour(rng, None if carrier == "bare" else float(bgr.mean()))
    opacity = ink[..., None] * np.float32(rng.uniform(0.85, 1.0))
    bgr = bgr * (1 - opacity) + colour * opacity
    if carrier == "bare":
        bgr, alpha = np.broadcast_to(colour, bgr.shape).copy(), opacity[..., 0]
    rows, columns = np.flatnonzero((ink > 0.5).any(1)), np.flatnonzero((ink > 0.5).any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Item(
        label=int(pool.labels[position]),
        digit_index=int(pool.indices[position]),
        bgr=bgr.astype(np.float32),
        alpha=alpha.astype(np.float32),
        solid=carrier != "bare",
        box_xyxy=box,
    )


def _ink(digit: Array, rng: np.random.Generator, ink_px: float, angle: float, side: int) -> Array:
    """The digit, smoothly enlarged and turned: (side, side) float32 in [0, 1]."""
    size = (8 + 2 * _MARGIN) * _ENLARGE
    smooth = cv2.resize(np.pad(digit, _MARGIN), (size, size), interpolation=cv2.INTER_CUBIC)
    matrix = cv2.getRotationMatrix2D(
        ((size - 1) / 2, (size - 1) / 2), angle, ink_px / (8 * _ENLARGE)
    )
    matrix[0, :2] *= rng.uniform(0.85, 1.15)
    matrix[:, 2] = (side - 1) / 2 - matrix[:, :2] @ np.full(2, (size - 1) / 2)
    warped = cv2.warpAffine(smooth, matrix, (side, side))
    # A threshold with a soft edge makes a pen stroke of the blurred 8x8 picture.
    low = rng.uniform(0.22, 0.38)
    stroke: Array = np.clip((warped - low) / 0.3, 0, 1).astype(np.float32)
    return stroke


def _carrier(
    kind: str, rng: np.random.Generator, size_wh: tuple[float, float], ink_px: float, side: int
) -> tuple[Array, Array]:
    """The carrier before it is turned: (side, side, 3) float32 BGR and its (side, side) alpha."""
    base = {
        "parcel": np.array((105, 150, 185)) * rng.uniform(0.75, 1.15),
        "label": np.array((225, 232, 235)) - rng.uniform(0, 45, 3),
        "metal": np.full(3, rng.uniform(105, 185)),
        "tile": cv2.cvtColor(
            np.array([[[rng.integers(180), rng.integers(90, 230), rng.integers(70, 240)]]], "u1"),
            cv2.COLOR_HSV2BGR,
        )[0, 0],
        "bare": np.zeros(3),
    }[kind]
    canvas = np.full((side, side, 3), base, dtype=np.float32)
    x0, y0 = (round((side - extent) / 2) for extent in size_wh)
    x1, y1 = side - x0, side - y0
    if kind in ("parcel", "metal"):
        grain = rng.normal(0, 7, (side, 1, 1)) + rng.normal(0, 3, (side, side, 1))
        canvas += grain.astype(np.float32)
    if kind == "parcel":
        stripe = round(rng.uniform(0.05, 0.12) * (y1 - y0))
        cv2.rectangle(canvas, (x0, y0), (x1, y0 + stripe), (base * 1.2).tolist(), -1)
    elif kind == "metal":
        inset = max(2, round(0.06 * (x1 - x0)))
        for corner in ((x0, y0), (x1, y0), (x0, y1), (x1, y1)):
            centre = tuple(c + inset * (1 if c < side / 2 else -1) for c in corner)
            cv2.circle(canvas, centre, max(1, inset // 2), (60.0, 60.0, 60.0), -1, cv2.LINE_AA)
    free = round((x1 - x0 - ink_px) / 2) - 4
    if kind in ("parcel", "label") and free >= 6 and rng.random() < 0.6:
        draw_barcode(canvas, rng, (x1 - free, y0 + 3, free, round((y1 - y0) * 0.7)))
    cv2.rectangle(canvas, (x0, y0), (x1, y1), (base * 0.6).tolist(), 1, cv2.LINE_AA)
    alpha = np.zeros((side, side), np.float32)
    cv2.rectangle(alpha, (x0, y0), (x1, y1), 1.0, -1)
    return canvas, alpha


def _ink_colour(rng: np.random.Generator, ground: float | None) -> Array:
    """A BGR colour that can be told from the ground; bright where the ground is the dark belt."""
    bright = ground is None or ground < 90 or (ground < 125 and rng.random() < 0.4)
    level = rng.uniform(195, 255) if bright else rng.uniform(5, 45)
    tint = rng.uniform(-40, 0, 3) if bright else rng.uniform(0, 45, 3) * (rng.random(3) < 0.4)
    colour: Array = np.clip(level + tint, 0, 255).astype(np.float32)
    return colour
