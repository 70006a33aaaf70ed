"""QDQ on the skip branch of additions, where TensorRT fuses the other branch's layer with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_FUSES = ("Conv", "ConvTranspose")


def narrow_skips(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], kept: Collection[str]
) -> None:
    """Put symmetric int8 QDQ before the input of each sum that is not a convolution's output.

    Args:
        model: with QDQ before its layers; changed in place.
        ranges: of its tensors.
        kept: nodes that stay in float.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    fixed = {tensor.name for tensor in model.graph.initializer}
    narrowed = _pairs(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        skip = None if node.name in kept else _skip_of(node, makers, fixed)
        if skip is not None and node.input[skip] in narrowed:
            node.input[skip] = narrowed[node.input[skip]]
        elif skip is not None and node.input[skip] in ranges:
            name = node.input[skip]
            nodes += _pair(model, name, ranges[name])
            narrowed[name] = node.input[skip] = nodes[-1].output[0]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _skip_of(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], fixed: Collection[str]
) -> int | None:
    """Which input of a sum is the one beside a convolution, where it is not narrowed yet."""
    if node.op_type != "Add" or len(node.input) != 2:
        return None
    sides = [makers[name].op_type if name in makers else "" for name in node.input]
    fused = next((at for at, op in enumerate(sides) if op in _FUSES), None)
    if fused is None or node.input[1 - fused] in fixed:
        return None
    return None if sides[1 - fused] == "DequantizeLinear" else 1 - fused


def _pairs(model: onnx.ModelProto) -> dict[str, str]:
    """Tensors that are narrowed already, with the names of what comes out of their QDQ."""
    sources = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    return {
        sources[node.input[0]]: node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in sources
    }


def _pair(
    model: onnx.ModelProto, name: str, bounds: tuple[float, float]
) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    from onnx import helper, numpy_helper

    base = name + "_skip"
    scale = max(max(abs(bound) for bound in bounds) / 127, 1e-12)
    parameters = [base + "_scale", base + "_zero_point"]
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(scale, np.float32), parameters[0]),
            numpy_helper.from_array(np.array(0, np.int8), parameters[1]),
        ]
    )
    return (
        helper.make_node("QuantizeLinear", [name, *parameters], [base + "_q"], base + "_Q"),
        helper.make_node("DequantizeLinear", [base + "_q", *parameters], [base + "_dq"], base),
    )
