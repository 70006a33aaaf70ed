"""Give back to each layer's bias what rounding its weights takes from its mean output.

M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
2019, https://arxiv.org/abs/1906.04721, section 4.2, with means that were measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.quantize.ranges import Observed

if TYPE_CHECKING:
    import onnx


def corrected(
    model: onnx.ModelProto, narrowed: onnx.ModelProto, observed: Observed
) -> onnx.ModelProto:
    """Copy a float graph with biases that make up for the rounding of weights.

    Args:
        model: the float graph.
        narrowed: the same with QDQ, node names kept.
        observed: means of the channels that come into layers.
    """
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    rounded = _rounded_weights(narrowed)
    changed: set[str] = set()
    for node in copy.graph.node:
        if node.op_type not in ("Conv", "Gemm") or node.name not in rounded:
            continue
        seen = observed.tensors.get(node.input[0])
        old = weights.get(node.input[1])
        if seen is None or old is None or not seen.means.size:
            continue
        shift = _shift(node, rounded[node.name] - numpy_helper.to_array(old), seen.means)
        bias = node.input[2] if len(node.input) > 2 else ""
        if shift is None or (bias and bias not in weights) or bias in changed:
            continue
        value = np.zeros(len(shift), np.float32)
        if bias:
            value = value + numpy_helper.to_array(weights[bias]).reshape(-1)
        name = f"{node.name}_corrected_bias"
        copy.graph.initializer.append(
            numpy_helper.from_array((value - shift).astype(np.float32), name)
        )
        del node.input[2:]
        node.input.append(name)
        changed.add(name)
    return copy


def _shift(
    node: onnx.NodeProto, error: NDArray[np.float32], means: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """What the error of the weights adds to each output channel on average; None if unknown."""
    from onnx import helper

    said = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "Gemm":
        if said.get("transA") or said.get("alpha", 1.0) != 1.0 or said.get("beta", 1.0) != 1.0:
            return None
        matrix = error if said.get("transB") else error.T
        return matrix @ means if matrix.shape[1] == len(means) else None
    groups = said.get("group", 1)
    per_group = error.shape[1]
    if per_group * groups != len(means) or error.shape[0] % groups:
        return None
    flat = error.reshape(groups, error.shape[0] // groups, per_group, -1).sum(axis=3)
    inputs = means.reshape(groups, per_group)
    shift: NDArray[np.float64] = np.einsum("goi,gi->go", flat.astype(np.float64), inputs)
    return shift.reshape(-1)


def _rounded_weights(narrowed: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """What the weights of each layer are after rounding, by the layer's name."""
    from onnx import helper, numpy_helper

    tensors = {tensor.name: tensor for tensor in narrowed.graph.initializer}
    makers = {name: node for node in narrowed.graph.node for name in node.output}
    found: dict[str, NDArray[np.float32]] = {}
    for node in narrowed.graph.node:
        if node.op_type not in ("Conv", "Gemm") or node.input[1] not in makers:
            continue
        maker = makers[node.input[1]]
        if maker.op_type != "DequantizeLinear" or not {*maker.input} <= {*tensors}:
            continue
        codes, scale, zero = (numpy_helper.to_array(tensors[name]) for name in maker.input)
        axis = next((helper.get_attribute_value(a) for a in maker.attribute if a.name == "axis"), 1)
        shape = [1] * codes.ndim
        if scale.ndim:
            shape[axis] = -1
        wide = codes.astype(np.float32) - zero.astype(np.float32).reshape(shape)
        found[node.name] = wide * scale.reshape(shape)
    return found
