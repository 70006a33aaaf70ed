"""One score per class: probabilities as they are (`softmax`) or logits that become some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.results import Classes
from edgeinfer.spec import ModelSpec

TOP_K = 5


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


def _best(scores: Array, spec: ModelSpec) -> Classes:
    if spec.keep_classes:
        kept = np.array(spec.keep_classes)
        order = kept[np.argsort(-scores[kept], kind="stable")][:TOP_K]
    else:
        order = np.argsort(-scores, kind="stable")[:TOP_K]
    if "score" in spec.thresholds:
        order = order[scores[order] >= spec.thresholds["score"]]
    return Classes(order.astype(np.int64), scores[order].astype(np.float32), spec.labels)


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
        (output,) = outputs.values()
        return [_best(row, spec) for row in output.reshape(len(views), -1).astype(np.float32)]


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
        (output,) = outputs.values()
        found = []
        for row in output.reshape(len(views), -1).astype(np.float32):
            powers = np.exp(row - row.max())
            found.append(_best(powers / powers.sum(), spec))
        return found
