"""Boxes that networks start from, worked out from a few numbers of the spec."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.heads.boxes import Floats
from edgeinfer.heads.instances import grid


def anchors_of(options: Mapping[str, Any], head: str) -> Floats:
    """`(N, 4)` centre x, centre y, width, height as shares of the input.

    Either ``anchors``, the list itself; or ``maps`` ([[rows, columns], ...]), ``sizes`` and
    ``ratios`` (one list per map; shares, and width over height): at the middle of each cell a box
    of every size with the first ratio, then one of the first size with each other ratio.

    Raises:
        SpecError: if neither is given, or they do not fit each other.
    """
    try:
        return _made(json.dumps({key: options.get(key) for key in _KEYS}))
    except (TypeError, ValueError, IndexError) as error:
        raise SpecError(
            f"The head '{head}' needs anchors, which the graph does not hold: give head_options "
            f'{{"anchors": [[cx, cy, w, h], ...]}} or "maps", "sizes" and "ratios" ({error}).'
        ) from error


_KEYS = ("anchors", "maps", "sizes", "ratios")


@functools.lru_cache(maxsize=8)
def _made(text: str) -> Floats:
    given = json.loads(text)
    if given["anchors"] is not None:
        listed = np.array(given["anchors"], np.float32)
        if listed.ndim != 2 or listed.shape[1] != 4:
            raise ValueError(f"the given ones have the shape {list(listed.shape)}")
        return listed
    maps, sizes, ratios = given["maps"], given["sizes"], given["ratios"]
    if not maps or not sizes or not ratios or not len(maps) == len(sizes) == len(ratios):
        raise ValueError("one list of sizes and ratios for each map")
    return np.concatenate([_of_map(*each) for each in zip(maps, sizes, ratios, strict=True)])


def _of_map(cells: list[int], sizes: list[float], ratios: list[float]) -> Floats:
    rows, columns = cells
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    wh = np.array([(size * ratio**0.5, size / ratio**0.5) for size, ratio in shapes])
    y, x = np.mgrid[:rows, :columns]
    centres = np.stack(((x + 0.5) / columns, (y + 0.5) / rows), axis=-1).reshape(-1, 1, 2)
    spread = np.broadcast_to(centres, (rows * columns, len(wh), 2))
    whole = np.concatenate((spread, np.broadcast_to(wh, spread.shape)), axis=2)
    return whole.reshape(-1, 4).astype(np.float32)


@functools.lru_cache(maxsize=8)
def square_priors(
    size_hw: tuple[int, int], strides: tuple[int, ...], sizes: tuple[tuple[int, ...], ...]
) -> Floats:
    """`(N, 4)` centre and size as shares of the input, of squares at the middle of every cell.

    Args:
        sizes: sides in pixels of the input, for each stride.
    """
    whole = np.array([size_hw[1], size_hw[0]], np.float32)
    found = []
    for stride, each in zip(strides, sizes, strict=True):
        centres = (grid(size_hw, stride, len(each)) + 0.5) * stride / whole
        squares = np.tile(np.array(each, np.float32), len(centres) // len(each))[:, None] / whole
        found.append(np.concatenate((centres, squares), axis=1))
    return np.concatenate(found).astype(np.float32)


def decode_ssd(
    raw: Floats, anchors: Floats, variances: Sequence[float], most_growth: float = math.inf
) -> Floats:
    """`(N, 4)` regressions to `(N, 4)` corners as shares of the input.

    Source: Liu et al. 2016, https://arxiv.org/abs/1512.02325: centres shift by the anchor's size,
    sizes grow by powers, up to a largest one; both are divided by the variances for learning.
    """
    scale = np.array(variances, np.float32)
    centres = anchors[:, :2] + raw[:, :2] * scale[:2] * anchors[:, 2:]
    sizes = anchors[:, 2:] * np.exp(np.minimum(raw[:, 2:] * scale[2:], most_growth))
    return np.concatenate((centres - sizes / 2, centres + sizes / 2), axis=1)


def variances_of(options: Mapping[str, Any]) -> tuple[float, ...]:
    """The four variances, 0.1, 0.1, 0.2, 0.2 where the spec does not say."""
    return tuple(float(item) for item in options.get("variances", (0.1, 0.1, 0.2, 0.2)))
