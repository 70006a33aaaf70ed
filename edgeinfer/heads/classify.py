"""One score per class: probabilities as they are (`softmax`) or logits that become some."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.results import Classes
from edgeinfer.spec import ModelSpec

TOP_K = 5
# The sum of a million powers up to here is a float32, and the largest is no denormal.
_SAFE = 70.0


def _scores_shape(graph: Graph) -> tuple[int | str, ...] | str:
    if len(graph.outputs) != 1:
        return f"it has one output, this graph has {len(graph.outputs)}"
    shape = graph.outputs[0].shape
    if len(shape) < 2 or any(size != 1 for size in shape[2:]):
        return f"its output is [1, classes], this one is {list(shape)}"
    if isinstance(shape[0], int) and shape[0] != 1:
        return f"its output is [1, classes], this one is {list(shape)}"
    if isinstance(shape[1], int) and shape[1] < 2:
        return f"it tells at least 2 classes apart, this output is {list(shape)}"
    return shape


def _last_op(graph: Graph) -> str | None:
    return dict(graph.last_ops).get(graph.outputs[0].name)


def _best(rest: Array, count: int) -> tuple[list[int], list[float]]:
    """Numbers and scores of the best classes, best first; equal scores in the order of the classes.

    Looks for the largest five times: right after an inference a first call of argpartition took
    80 us on the box where this was written, an exp of as many values 7.

    Args:
        rest: scores by class; those that are found are overwritten.
        count: how many to find, not more than there are.
    """
    ids, scores = [], []
    for _ in range(count):
        index = int(rest.argmax())
        ids.append(index)
        scores.append(rest.item(index))
        rest[index] = -np.inf
    return ids, scores


def _kept(row: Array, spec: ModelSpec) -> tuple[list[int], list[float]]:
    """As `_best`, of the classes that are asked for."""
    order = sorted((-row.item(index), index) for index in spec.keep_classes)[:TOP_K]
    return [index for _, index in order], [-score for score, _ in order]


def _softmax(row: Array, spec: ModelSpec) -> tuple[list[int], list[float]]:
    """Probabilities of the best classes, in float32."""
    top = int(row.argmax())
    peak = row.item(top)
    # Less the largest where a power, or their sum, might overflow; else it costs a pass.
    powers = np.exp(row if -_SAFE < peak < _SAFE else row - np.float32(peak))
    total = float(np.add.reduce(powers))
    if spec.keep_classes:
        ids, parts = _kept(powers, spec)
    else:
        # The largest by its logit, since two powers may be rounded to one.
        first = powers.item(top)
        powers[top] = -np.inf
        ids, parts = _best(powers, min(TOP_K, len(row)) - 1)
        ids, parts = [top, *ids], [first, *parts]
    return ids, [part / total for part in parts]


def _classes(ids: list[int], probabilities: list[float], spec: ModelSpec) -> Classes:
    if "score" in spec.thresholds:
        count = sum(score >= spec.thresholds["score"] for score in probabilities)
        ids, probabilities = ids[:count], probabilities[:count]
    flags = () if all(map(math.isfinite, probabilities)) else ("nonfinite",)
    return Classes(np.array(ids, np.int64), np.array(probabilities, np.float32), spec.labels, flags)


def _rows(outputs: Arrays, count: int) -> Array:
    (output,) = outputs.values()
    rows = output if output.ndim == 2 else output.reshape(count, -1)
    return rows if rows.dtype == np.float32 else rows.astype(np.float32)


class _OneScorePerClass:
    task = "classify"

    def classes(self, graph: Graph) -> int | None:
        size = graph.outputs[0].shape[1]
        return size if isinstance(size, int) else None


class Softmax(_OneScorePerClass):
    """Probabilities, computed in the graph."""

    name = "softmax"

    def why_not(self, graph: Graph) -> str | None:
        shape = _scores_shape(graph)
        if isinstance(shape, str):
            return shape
        last = _last_op(graph)
        if last is not None and last not in ("Softmax", "Sigmoid"):
            return f"its graph ends in Softmax, this one in {last}"
        return None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Classes]:
        """`[B, classes, 1...]` probabilities to the best classes."""
        rows = _rows(outputs, len(views))
        if spec.keep_classes:
            return [_classes(*_kept(row, spec), spec) for row in rows]
        count = min(TOP_K, rows.shape[1])
        return [_classes(*_best(row.copy(), count), spec) for row in rows]


class Logits(_OneScorePerClass):
    """Logits; softmax is computed here, in float32."""

    name = "logits"

    def why_not(self, graph: Graph) -> str | None:
        shape = _scores_shape(graph)
        if isinstance(shape, str):
            return shape
        last = _last_op(graph)
        return f"its graph does not end in {last}" if last in ("Softmax", "Sigmoid") else None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Classes]:
        """`[B, classes, 1...]` logits to the best classes."""
        return [_classes(*_softmax(row, spec), spec) for row in _rows(outputs, len(views))]
