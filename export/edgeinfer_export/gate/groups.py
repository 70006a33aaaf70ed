"""A graph as layers with what follows them: what stays in float stays so together."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_LAYERS = ("Attention", "Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN")


@dataclass(frozen=True)
class Group:
    """A layer, and the nodes between it and the next ones.

    Attributes:
        layer: the layer's name.
        nodes: its name and theirs, in the order of the graph.
        outputs: tensors that they compute.
        macs: multiplications of the layer, for one sample; an estimate.
        before: numbers of the groups whose outputs it takes in.
    """

    layer: str
    nodes: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    before: tuple[int, ...]


def groups_of(model: onnx.ModelProto, left_out: Collection[str] = ()) -> tuple[Group, ...]:
    """The groups of a graph, in its order.

    A node belongs to the last layer that it depends on. What comes before the first layer belongs
    to that one.

    Args:
        model: every node has a name of its own.
        left_out: names of nodes that are in no group.
    """
    shapes = _shapes(model)
    fixed = {tensor.name for tensor in model.graph.initializer}
    home: dict[str, int] = {}
    nodes: list[list[onnx.NodeProto]] = []
    before: list[set[int]] = []
    for node in model.graph.node:
        sources = {home[name] for name in node.input if name in home}
        weights = len(node.input) > 1 and any(name in fixed for name in node.input[1:3])
        if (node.op_type in _LAYERS and weights) or not nodes:
            nodes.append([])
            before.append(set())
            at = len(nodes) - 1
            before[at] |= sources
        else:
            at = max(sources, default=0)
            before[at] |= sources - {at}
        nodes[at].append(node)
        home.update((name, at) for name in node.output if name)
    made = []
    for at, members in enumerate(nodes):
        kept = [node for node in members if node.name not in left_out]
        layers = [node for node in kept if node.op_type in _LAYERS]
        if not layers:
            continue
        made.append(
            (
                at,
                Group(
                    layers[0].name,
                    tuple(node.name for node in kept),
                    tuple(name for node in kept for name in node.output if name),
                    sum(macs_of(node, shapes) for node in layers),
                    (),
                ),
            )
        )
    numbers = {at: number for number, (at, _) in enumerate(made)}
    return tuple(
        Group(
            group.layer,
            group.nodes,
            group.outputs,
            group.macs,
            tuple(sorted(numbers[one] for one in before[at] if one in numbers)),
        )
        for at, group in made
    )


def macs_of(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications of a layer; open dimensions count as 1."""
    out = math.prod(shapes.get(node.output[0], (1,)) if node.output[0] else (1,))
    weights = shapes.get(node.input[1], (1,)) if len(node.input) > 1 else (1,)
    if node.op_type in ("Conv", "ConvTranspose"):
        return out * math.prod(weights[1:])
    if node.op_type in ("MatMul", "Gemm"):
        inner = shapes.get(node.input[0], (1,))[-1:]
        return out * math.prod(inner)
    steps = shapes.get(node.input[0], (1,))[:1]
    return math.prod(steps) * math.prod(weights)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    found = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        found.setdefault(value.name, tuple(dim.dim_value or 1 for dim in dims))
    return found
