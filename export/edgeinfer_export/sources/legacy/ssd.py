"""Single-shot detectors: anchors as constants, decoding, and suppression inside the graph.

Source: Liu et al. 2016, https://arxiv.org/abs/1512.02325, and the layers of its Caffe branch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.graph import Graph

# Rows of a detector's output where the source does not limit them.
_MOST_ROWS = 200
_MOST_PRIORS = 5_000_000


def centres(
    graph: Graph,
    count_hw: tuple[int, int],
    step_hw: tuple[float, float],
    offset_hw: Sequence[float],
) -> Array:
    """Where the anchors of each cell lie: `(H * W, 2)` x and y."""
    if count_hw[0] * count_hw[1] > _MOST_PRIORS:
        graph.fail(f"it has {count_hw[0]}x{count_hw[1]} cells, more than any detector has.")
    y = (np.arange(count_hw[0]) + offset_hw[0]) * step_hw[0]
    x = (np.arange(count_hw[1]) + offset_hw[1]) * step_hw[1]
    return np.stack([item.ravel() for item in np.meshgrid(x, y)], axis=-1)


def anchors(middles: Array, sizes_wh: Sequence[tuple[float, float]], clip: bool) -> Array:
    """Corners `(cells * sizes, 4)` of boxes of each size around each middle."""
    half = np.asarray(sizes_wh, np.float64).reshape(-1, 2) / 2
    boxes = np.concatenate((middles[:, None] - half, middles[:, None] + half), axis=-1)
    return np.asarray(np.clip(boxes, 0, 1) if clip else boxes, np.float32).reshape(-1, 4)


def prior_sizes(
    min_sizes: Sequence[float],
    max_sizes: Sequence[float],
    ratios: Sequence[float],
    *,
    flip: bool,
    ratios_before_max: bool = False,
) -> list[tuple[float, float]]:
    """Width and height of the anchors of a cell, in the order of Caffe's PriorBox."""
    wanted = [1.0]
    for ratio in ratios:
        for item in (ratio, 1 / ratio) if flip else (ratio,):
            if all(abs(item - other) > 1e-6 for other in wanted):
                wanted.append(item)
    found = []
    for number, size in enumerate(min_sizes):
        square = [(size, size)]
        between = []
        if max_sizes:
            side = math.sqrt(size * max_sizes[number])
            between = [(side, side)]
        others = [(size * math.sqrt(r), size / math.sqrt(r)) for r in wanted[1:]]
        found += square + (others + between if ratios_before_max else between + others)
    return found


@dataclass(frozen=True)
class Suppression:
    """How overlapping boxes are dropped.

    Attributes:
        score_threshold: below it, nothing is looked at.
        iou_threshold: above it, the lower score is dropped.
        per_class: most boxes of one class; 0 or less for any number.
        keep: most boxes altogether; 0 or less for the usual number.
        background: the class that is none; one that does not exist where all are some.
        first_class: the number that the first class in the result has.
    """

    score_threshold: float
    iou_threshold: float
    per_class: int
    keep: int
    background: int = -1
    first_class: int = 0


def decode_centres(graph: Graph, deltas: str, priors: Array, variances: Array | None) -> str:
    """Offsets from anchors to corners `(1, N, 4)`.

    Args:
        deltas: `(1, N, 4)`: offsets of the centre in anchor sizes, logarithms of the size's ratio.
        priors: corners `(N, 4)`.
        variances: `(N, 4)` or `(4,)`, factors of the offsets.
    """
    size = priors[:, 2:] - priors[:, :2]
    middle = (priors[:, 2:] + priors[:, :2]) / 2
    if variances is not None:
        deltas = graph.node("Mul", deltas, graph.weight(np.atleast_2d(variances)[None]))
    offset, log_size = graph.nodes(
        "Split", [deltas, graph.ints(2, 2)], ["offset", "log_size"], axis=2
    )
    anchor_size = graph.weight(size[None], "anchor_size")
    anchor_middle = graph.weight(middle[None], "anchor_middle")
    centre = graph.node("Add", graph.node("Mul", offset, anchor_size), anchor_middle)
    half = graph.node("Mul", graph.node("Exp", log_size), graph.weight(size[None] / 2))
    return graph.node(
        "Concat", graph.node("Sub", centre, half), graph.node("Add", centre, half), axis=2
    )


def suppress(
    graph: Graph,
    boxes: str,
    scores: str,
    rule: Suppression,
    *,
    scale_xy: tuple[float, float] | None = None,
    name: str = "detections",
) -> str:
    """Keep the best boxes.

    Args:
        boxes: corners `(1, N, 4)`.
        scores: `(1, classes, N)`.
        scale_xy: factors that turn the corners into pixels of the model's input.

    Returns:
        `(1, keep, 6)`: corners, score, class; the best first, rows of zeros at the end.
    """
    count, classes, total = graph.sizes(scores)
    if count != 1 or graph.sizes(boxes) != (1, total, 4):
        graph.fail(
            f"boxes {list(graph.shape(boxes))} and scores {list(graph.shape(scores))} do not "
            f"belong together, or are no batch of one."
        )
    first = rule.first_class
    if 0 <= rule.background < classes:
        if rule.background not in (0, classes - 1) or classes < 2:
            graph.fail(
                f"its background is class {rule.background} of {classes}; the first and the last "
                f"are supported."
            )
        start = 1 if rule.background == 0 else 0
        first += start
        scores = graph.node(
            "Slice",
            scores,
            graph.ints(start),
            graph.ints(start + classes - 1),
            graph.ints(1),
        )
    most = rule.per_class if rule.per_class > 0 else total
    chosen = graph.node(
        "NonMaxSuppression",
        boxes,
        scores,
        graph.weight([min(most, total)], dtype=np.int64),
        graph.weight([rule.iou_threshold]),
        graph.weight([rule.score_threshold]),
    )
    keep = min(rule.keep if rule.keep > 0 else _MOST_ROWS, total * classes)
    rows = _rows(graph, boxes, scores, chosen, first, scale_xy)
    padded = graph.node("Concat", rows, graph.weight(np.zeros((keep, 6))), axis=0)
    column = graph.node("Gather", padded, graph.weight(4, dtype=np.int64), axis=1)
    _, order = graph.nodes(
        "TopK", [column, graph.ints(keep)], ["best", "order"], axis=0, largest=1, sorted=1
    )
    return graph.reshape(graph.node("Gather", padded, order, axis=0), [1, keep, 6], name)


def _rows(
    graph: Graph,
    boxes: str,
    scores: str,
    chosen: str,
    first: int,
    scale_xy: tuple[float, float] | None,
) -> str:
    """What was chosen: `(M, 6)` corners, score, class."""
    _, class_ids, numbers = graph.nodes(
        "Split", [chosen, graph.ints(1, 1, 1)], ["batch", "class_ids", "numbers"], axis=1
    )
    corners = graph.node(
        "Gather",
        graph.reshape(boxes, [-1, 4]),
        graph.reshape(numbers, [-1]),
        axis=0,
    )
    if scale_xy is not None:
        corners = graph.node("Mul", corners, graph.weight([[*scale_xy, *scale_xy]]))
    values = graph.reshape(graph.node("GatherND", scores, chosen), [-1, 1])
    ids = graph.node("Cast", class_ids, to=1)
    if first:
        ids = graph.node("Add", ids, graph.weight(float(first)))
    return graph.node("Concat", corners, values, ids, axis=1)
