"""Matrix products in the one form that the dynamic quantizer knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def gemm_to_matmul(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model; each Gemm with fixed weights becomes a MatMul, and an Add where it has a bias.

    Only where its input is not transposed; alpha and beta go into the weights.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in copy.graph.node:
        nodes += _product(copy, node, weights)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    used = {name for node in copy.graph.node for name in node.input}
    used.update(value.name for value in copy.graph.output)
    kept = [tensor for tensor in copy.graph.initializer if tensor.name in used]
    if not any(a.HasField("g") for node in copy.graph.node for a in node.attribute):
        del copy.graph.initializer[:]
        copy.graph.initializer.extend(kept)
    return copy


def _product(
    model: onnx.ModelProto, node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    from onnx import helper, numpy_helper

    said = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type != "Gemm" or said.get("transA") or node.input[1] not in weights:
        return [node]
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias and bias not in weights:
        return [node]
    matrix = numpy_helper.to_array(weights[node.input[1]])
    matrix = (matrix.T if said.get("transB") else matrix) * np.float32(said.get("alpha", 1.0))
    name = f"{node.name}_weights"
    model.graph.initializer.append(
        numpy_helper.from_array(np.ascontiguousarray(matrix, np.float32), name)
    )
    if not bias:
        return [helper.make_node("MatMul", [node.input[0], name], node.output, node.name)]
    added = numpy_helper.to_array(weights[bias]) * np.float32(said.get("beta", 1.0))
    model.graph.initializer.append(
        numpy_helper.from_array(np.asarray(added, np.float32), f"{node.name}_bias")
    )
    between = f"{node.output[0]}_product"
    return [
        helper.make_node("MatMul", [node.input[0], name], [between], node.name),
        helper.make_node("Add", [between, f"{node.name}_bias"], node.output, f"{node.name}_add"),
    ]
