"""Draws pictures of the belt with digits on it, and says where they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.demo_model.belt import draw_belt, look, make_camera, motion_blur
from edgeinfer_export.demo_model.digits import DigitPool
from edgeinfer_export.demo_model.items import Item, make_item

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Placed:
    """A digit on the strip; the box is in the strip's pixels."""

    label: int
    digit_index: int
    box_xyxy: tuple[int, int, int, int]


def draw_picture(
    pool: DigitPool, rng: np.random.Generator, size_wh: tuple[int, int], noisiest: float = 6.0
) -> tuple[NDArray[np.uint8], Array]:
    """One random scene.

    Args:
        pool: Where the digits come from.
        rng: Every random choice comes from here.
        size_wh: Width and height of the picture.
        noisiest: Largest standard deviation of the sensor noise, in grey levels.

    Returns:
        The picture, (H, W, 3) uint8 BGR, and its digits, (K, 5) float32: class, x0, y0, x1, y1.
    """
    width, height = size_wh
    unit = width / 640
    camera = make_camera(rng, size_wh, noise=rng.uniform(1.0, noisiest))
    strip = draw_belt(rng, (width, height), clutter=int(rng.integers(4, 16)), unit=unit)
    placed: list[Placed] = []
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(int(rng.integers(2, 9))):
        item = make_item(pool, rng, unit)
        for _attempt in range(12):
            x, y = _random_corner(rng, item, camera.belt_rows, width)
            mine = (x, y, x + item.alpha.shape[1], y + item.alpha.shape[0])
            seen = _visible_fraction(item, x, width)
            # A digit cut in half has no right answer: either nearly all of it shows, or little.
            if not any(overlap(mine, other) for other in taken) and not 0.25 < seen < 0.85:
                taken.append(mine)
                placed.append(put_item(strip, item, (x, y)))
                break
    strip = motion_blur(strip, int(rng.integers(1, max(2, round(8 * unit)))))
    return look(camera, strip, 0, rng), visible_digits(placed, 0, size_wh)


def put_item(strip: Array, item: Item, corner_xy: tuple[int, int]) -> Placed:
    """Lays the item on the strip, in place, cut at the strip's edges."""
    x, y = corner_xy
    size = item.alpha.shape[0]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + size, strip.shape[1]), min(y + size, strip.shape[0])
    inside = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
    target = strip[y0:y1, x0:x1]
    if item.solid:
        reach = max(2, size // 24)
        shadow = cv2.blur(np.roll(item.alpha, (reach, reach), (0, 1)), (2 * reach, 2 * reach))
        target *= 1 - 0.5 * shadow[inside][..., None]
    alpha = item.alpha[inside][..., None]
    target += alpha * (item.bgr[inside] - target)
    left, upper, right, lower = item.box_xyxy
    return Placed(item.label, item.digit_index, (left + x, upper + y, right + x, lower + y))


def visible_digits(
    placed: list[Placed], offset: int, size_wh: tuple[int, int], least: float = 0.5
) -> Array:
    """Digits of which at least the share `least` is in view.

    Args:
        placed: Digits on the strip.
        offset: How far the strip has moved on.
        size_wh: Width and height of the view.
        least: The share of the width.

    Returns:
        (K, 5) float32: class, x0, y0, x1, y1 in the view's pixels, cut at its edges.
    """
    rows = []
    for digit in placed:
        x0, y0, x1, y1 = digit.box_xyxy
        left, right = max(x0 - offset, 0), min(x1 - offset, size_wh[0])
        if right - left >= least * (x1 - x0):
            rows.append((digit.label, left, y0, right, y1))
    return np.array(rows, np.float32).reshape(-1, 5)


def _random_corner(
    rng: np.random.Generator, item: Item, belt_rows: tuple[int, int], width: int
) -> tuple[int, int]:
    size = item.alpha.shape[0]
    x = int(rng.integers(-size // 2, width - size // 2))
    top, bottom = belt_rows[0] - item.box_xyxy[1] + 2, belt_rows[1] - item.box_xyxy[3] - 2
    return x, int(rng.integers(top, max(top + 1, bottom)))


def _visible_fraction(item: Item, x: int, width: int) -> float:
    left, right = item.box_xyxy[0] + x, item.box_xyxy[2] + x
    return (min(right, width) - max(left, 0)) / (right - left)


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two boxes, xyxy, share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
