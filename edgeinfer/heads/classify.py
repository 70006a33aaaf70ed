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
    if isinstance(shape[1], int) and shape[1] < 2:
        return f"it tells at least 2 classes apart, this output is {list(shape)}"
    return shape


def _last_op(graph: Graph) -> str | None:
    return dict(graph.last_ops).get(graph.outputs[0].name)


def _best(row: Array, spec: ModelSpec) -> tuple[list[int], list[float]]:
    """Numbers and scores of the best classes, best first; equal scores in the order of the classes.

    Looks for the largest five times: right after an inference a first call of argpartition took
    80 us on the box where this was written, an exp of as many values 7.
    """
    if spec.keep_classes:
        order = sorted((-row.item(index), index) for index in spec.keep_classes)[:TOP_K]
        return [index for _, index in order], [-score for score, _ in order]
    rest = row.copy()
    ids, scores = [], []
    for _ in range(min(TOP_K, len(row))):
        index = int(rest.argmax())
        ids.append(index)
        scores.append(row.item(index))
        rest[index] = -np.inf
    return ids, scores


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
        return [_classes(*_best(row, spec), spec) for row in _rows(outputs, len(views))]


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
        found = []
        for row in _rows(outputs, len(views)):
            ids, scores = _best(row, spec)
            peak = scores[0] if not spec.keep_classes else float(row.max())
            # Less the largest where a power, or their sum, might overflow; else it costs a pass.
            less = 0.0 if -_SAFE < peak < _SAFE else peak
            powers = np.exp(row - np.float32(less) if less else row)
            total = float(np.add.reduce(powers))
            found.append(_classes(ids, [math.exp(x - less) / total for x in scores], spec))
        return found
