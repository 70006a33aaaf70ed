"""Matrix products in the forms that the quantizers know."""

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


def plain_gemms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model; where a Gemm's weights and bias are fixed, alpha and beta go into them.

    ONNX Runtime's static quantizer writes a bias in 8 bits as if its beta were one.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type == "Gemm" and all(name in weights for name in node.input[1:] if name):
            for place, factor in ((1, "alpha"), (2, "beta")):
                _fold_factor(copy, node, place, factor, weights)
    return copy


def _fold_factor(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    place: int,
    factor: str,
    weights: dict[str, onnx.TensorProto],
) -> None:
    from onnx import numpy_helper

    said = next((item for item in node.attribute if item.name == factor), None)
    if said is None or said.f == 1.0 or len(node.input) <= place or not node.input[place]:
        return
    given = numpy_helper.to_array(weights[node.input[place]])
    # Under a name of its own: others may read the given one.
    name = f"{node.output[0]}_times_{factor}"
    scaled = (given * np.asarray(said.f, given.dtype)).astype(given.dtype)
    model.graph.initializer.append(numpy_helper.from_array(scaled, name))
    node.input[place] = name
    node.attribute.remove(said)
