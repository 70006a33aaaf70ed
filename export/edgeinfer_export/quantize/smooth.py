"""Move outliers of activations into weights, where both meet in a matrix product.

G. Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models", ICML 2023, https://arxiv.org/abs/2211.10438: x W = (x / s) (s W), with s between what
the activations and what the weights need. Division by s goes into the normalization before, where
nobody else reads that one's output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.quantize.ranges import Observed

if TYPE_CHECKING:
    import onnx

# The paper's default.
_ALPHA = 0.5
# A product whose weights make up this share of all layers makes a net one of products.
_HEAVY = 0.5


def is_product_heavy(model: onnx.ModelProto) -> bool:
    """Whether matrix products with fixed weights are at least half of the layers."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    layers = [node.op_type for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    products = [
        node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in fixed
    ]
    return len(products) > 0 and len(products) >= _HEAVY * (len(products) + len(layers))


def smoothed(model: onnx.ModelProto, observed: Observed) -> tuple[onnx.ModelProto, int]:
    """Copy a graph with smoothed products; and how many there are.

    Args:
        model: the float graph, prepared.
        observed: the largest magnitude of each channel that comes into a product.
    """
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in copy.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in copy.graph.output}
    done = 0
    for norm in [node for node in copy.graph.node if node.op_type == "LayerNormalization"]:
        name = norm.output[0]
        products = readers.get(name, [])
        learned = [at for at in norm.input[1:] if at in weights]
        if not products or name in outputs or len(learned) != len(norm.input) - 1:
            continue
        seen = observed.tensors.get(name)
        if seen is None or not all(_is_product(node, name, weights) for node in products):
            continue
        matrices = [numpy_helper.to_array(weights[node.input[1]]) for node in products]
        factors = _factors(seen.peaks, matrices)
        if factors is None:
            continue
        for at in range(1, len(norm.input)):
            scaled = numpy_helper.to_array(weights[norm.input[at]]) / factors
            norm.input[at] = _added(copy, f"{norm.name}_smooth{at}", scaled)
        for node, matrix in zip(products, matrices, strict=True):
            scaled = matrix * factors[:, None]
            node.input[1] = _added(copy, f"{node.name}_smooth_weights", scaled)
            done += 1
    return copy, done


def _is_product(node: onnx.NodeProto, name: str, weights: dict[str, onnx.TensorProto]) -> bool:
    return (
        node.op_type == "MatMul"
        and node.input[0] == name
        and node.input[1] in weights
        and len(weights[node.input[1]].dims) == 2
    )


def _factors(
    peaks: NDArray[np.float64], matrices: list[NDArray[np.float32]]
) -> NDArray[np.float64] | None:
    """`s` of the paper for each input channel; None where the figures do not fit."""
    needs = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    if peaks.shape != needs.shape:
        return None
    factors = np.maximum(peaks, 1e-5) ** _ALPHA / np.maximum(needs, 1e-5) ** (1 - _ALPHA)
    clipped: NDArray[np.float64] = np.clip(factors, 1e-3, 1e3)
    return clipped


def _added(model: onnx.ModelProto, name: str, values: NDArray[np.floating]) -> str:
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return name
