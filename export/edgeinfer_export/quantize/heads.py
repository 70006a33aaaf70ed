"""Which part of a graph stays in float: what follows the last layers that have weights.

A head mixes numbers of different kinds (pixels and probabilities in one tensor); one 8-bit scale
for both zeroes the smaller ones. So a graph is walked from its outputs back to the last layer of
each branch, whatever its nodes are called. A layer that only evaluates a distribution (the DFL of
YOLOv8, "Generalized Focal Loss", https://arxiv.org/abs/2006.04388: a softmax, then a convolution
with fixed weights) is part of the head, and the walk goes on through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class Graph:
    """Who makes which tensor, and which tensors are learned."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.outputs = [value.name for value in graph.output]
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self._fixed = {tensor.name for tensor in graph.initializer}
        for node in graph.node:  # in topological order, as ONNX demands
            if all(name in self._fixed for name in node.input if name):
                self._fixed.update(node.output)

    def has_weights(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a layer: one of its factors is learned, the other computed."""
        if node.op_type not in _LAYERS or len(node.input) < 2:
            return False
        fixed = [name in self._fixed for name in node.input[:2]]
        return fixed.count(True) == 1

    def before(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The nodes that compute what a node takes in; constants are left out."""
        for name in node.input:
            if name in self.producers and name not in self._fixed:
                yield self.producers[name]

    def evaluates_distribution(self, layer: onnx.NodeProto) -> bool:
        """Whether a softmax lies between a layer and the layers before it."""
        waiting, seen = list(self.before(layer)), set()
        while waiting:
            node = waiting.pop()
            if node.op_type == "Softmax":
                return True
            if node.output[0] not in seen and not self.has_weights(node):
                seen.add(node.output[0])
                waiting.extend(self.before(node))
        return False


def float_nodes(model: onnx.ModelProto, *, keep_last: bool) -> tuple[str, ...]:
    """Names of the nodes that stay in float, in the order of the graph.

    Args:
        model: every node has a name of its own.
        keep_last: whether the last layer of each branch stays in float too. A detector needs it;
            a classifier, whose last layer holds a good part of the weights, does not.
    """
    graph = Graph(model.graph)
    kept: set[str] = set()
    waiting = [graph.producers[name] for name in graph.outputs if name in graph.producers]
    while waiting:
        node = waiting.pop()
        if node.name in kept:
            continue
        last = graph.has_weights(node) and not graph.evaluates_distribution(node)
        if not last or keep_last:
            kept.add(node.name)
        if not last:
            waiting.extend(graph.before(node))
    return tuple(node.name for node in model.graph.node if node.name in kept)


def layers_left(model: onnx.ModelProto, kept: tuple[str, ...]) -> int:
    """How many layers with weights are not kept in float."""
    graph, names = Graph(model.graph), set(kept)
    return sum(1 for node in model.graph.node if graph.has_weights(node) and node.name not in names)
