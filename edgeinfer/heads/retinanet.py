"""RetinaNet: regressions `[1, N, 4]` and scores of classes `[1, N, classes]`, without suppression.

Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002, with the anchors and limits of
torchvision (`AnchorGenerator`, `BoxCoder`): nine a cell on five maps, around the upper left corners
of the cells.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.heads.anchors import anchors_of
from edgeinfer.heads.base import Graph
from edgeinfer.heads.boxes import Floats, apart
from edgeinfer.heads.instances import grid, input_hw
from edgeinfer.heads.ssd import Ssd
from edgeinfer.spec import ModelSpec

_STRIDES = (8, 16, 32, 64, 128)
_RATIOS = (2.0, 1.0, 0.5)
Lists = tuple[tuple[float, ...], ...]


class RetinaNet(Ssd):
    """Options: ``strides`` ([8, 16, 32, 64, 128]), ``sizes`` (a list of sides in model pixels for
    each stride; [[32, 40, 50], ..., [512, 645, 812]]) and ``ratios`` (a list of width over height
    for each stride; [2, 1, 0.5]), or ``anchors`` (as of `Ssd`); ``variances`` (1, 1, 1, 1),
    ``background`` (false) and ``activation`` (``sigmoid``).
    """

    name = "retinanet"
    usual_variances = (1.0, 1.0, 1.0, 1.0)
    usual_activation = "sigmoid"
    most_growth = math.log(1000 / 16)

    def why_not(self, graph: Graph) -> str | None:
        shapes = [(item.name, item.shape) for item in graph.outputs]
        if [len(shape) for _, shape in shapes] != [3, 3] or 4 not in (
            shape[2] for _, shape in shapes
        ):
            listed = ", ".join(str(list(shape)) for _, shape in shapes)
            return f"its outputs are [1, N, 4] and [1, N, classes], these are {listed}"
        strides, sizes, ratios = _geometry(graph.options)
        if not len(strides) == len(sizes) == len(ratios):
            return (
                f"its options have {len(sizes)} lists of sizes and {len(ratios)} of ratios for "
                f"{len(strides)} strides"
            )
        count = apart(shapes)[0][1][1]
        if "anchors" in graph.options:
            return None
        if graph.input_hw is None or not isinstance(count, int):
            return "how many anchors it has stays open" if graph.guessing else None
        usual = len(_anchors(graph.input_hw, strides, sizes, ratios))
        if count == usual:
            return None
        return f"it gives {usual} predictions for this input, this output has {count}"

    def anchors(self, spec: ModelSpec) -> Floats:
        if "anchors" in spec.head_options:
            return anchors_of(spec.head_options, self.name)
        return _anchors(input_hw(spec), *_geometry(spec.head_options))


def _geometry(options: Mapping[str, Any]) -> tuple[tuple[int, ...], Lists, Lists]:
    """Strides, and for each of them sizes and ratios."""
    strides = tuple(options.get("strides", _STRIDES))
    sizes = options.get("sizes") or [
        [int(4 * stride * 2 ** (part / 3)) for part in range(3)] for stride in strides
    ]
    ratios = options.get("ratios") or [_RATIOS] * len(strides)
    return strides, tuple(map(tuple, sizes)), tuple(map(tuple, ratios))


@functools.lru_cache(maxsize=8)
def _anchors(
    size_hw: tuple[int, int], strides: tuple[int, ...], sizes: Lists, ratios: Lists
) -> Floats:
    """`(N, 4)` centre and size as shares of the input: in each cell all sizes by their ratios."""
    whole = np.array([size_hw[1], size_hw[0]] * 2, np.float32)
    found = []
    for stride, sides, shapes in zip(strides, sizes, ratios, strict=True):
        roots = np.sqrt(np.array(shapes, np.float64))[:, None]
        wh = np.stack((roots * sides, 1 / roots * sides), axis=-1).reshape(-1, 2)
        wh = 2 * np.rint(wh / 2)  # corners lie on whole pixels
        steps = [side // -(-side // stride) for side in size_hw[::-1]]  # of cells that are whole
        corners = grid(size_hw, stride, len(wh)) * steps
        found.append(np.concatenate((corners, np.tile(wh, (len(corners) // len(wh), 1))), axis=1))
    return np.asarray(np.concatenate(found) / whole, np.float32)
