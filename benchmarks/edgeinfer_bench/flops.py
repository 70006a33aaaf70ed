"""How many floating-point (or integer) operations a node takes, from the shapes that it saw.

A multiply-add counts as two, as is usual since Linpack. Counted is the arithmetic that the operator
is defined by (https://onnx.ai/onnx/operators/,
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md), not what an algorithm
makes of it: Winograd's convolution does with fewer. Biases, activations and element-wise operators
are left out; next to the products they are nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from edgeinfer.artifact import nodes_of, read_graph
from edgeinfer.providers.profiling import NodeTime

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]

_BLOCKED = "_nchwc"
# What ONNX Runtime folds or fuses into the convolution before it.
_FUSED_AFTER = frozenset(
    {
        *("Add", "Mul", "BatchNormalization"),
        *("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "Tanh"),
    }
)


def flops(node: NodeTime) -> int | None:
    """Operations of one execution of a node.

    Args:
        node: with all its inputs, packed constants too.

    Returns:
        None for what is not counted, and where the shapes are not what the operator takes.
    """
    count = _COUNTS.get(node.op_type)
    if count is None:
        return None
    inputs = tuple(tensor.shape for tensor in node.inputs)
    outputs = tuple(tensor.shape for tensor in node.outputs)
    try:
        multiply_adds = count(inputs, outputs)
    except (IndexError, ZeroDivisionError):
        return None
    return None if multiply_adds is None else 2 * multiply_adds


def precision(node: NodeTime) -> str:
    """What a counted node computes in: ``int8``, ``fp16``, ``bf16``, ``fp32`` or ``fp64``."""
    kinds = {tensor.dtype for tensor in node.inputs}
    if node.op_type.startswith("Dynamic") or (
        node.op_type in _INTEGER and kinds & {"uint8", "int8"}
    ):
        return "int8"
    first = node.inputs[0].dtype if node.inputs else "float"
    return {"float16": "fp16", "bfloat16": "bf16", "double": "fp64"}.get(first, "fp32")


def kernels_of(path: Path) -> Mapping[str, Shape]:
    """Shape of the weights of each convolution in a file, by the name of what it gives.

    What an element-wise operator makes of that, which an optimizer may fuse into it, counts too.

    Raises:
        ModelFileError: if the file cannot be parsed.
    """
    graph = read_graph(path).graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    kernels: dict[str, Shape] = {}
    for node in nodes_of(graph):
        if node.op_type == "Conv" and node.input[1] in sizes:
            kernels[node.output[0]] = sizes[node.input[1]]
        elif node.op_type in _FUSED_AFTER:
            before = [kernels[name] for name in node.input if name in kernels]
            if len(before) == 1:
                kernels[node.output[0]] = before[0]
    return kernels


def unpadded(node: NodeTime, kernels: Mapping[str, Shape]) -> NodeTime:
    """A convolution in ONNX Runtime's blocked layout, without the channels that fill its blocks.

    It is named after what it gives:
    https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/optimizer/nchwc_transformer.cc

    Args:
        kernels: see `kernels_of`.
    """
    kernel = kernels.get(node.name.removesuffix(_BLOCKED))
    if node.op_type != "Conv" or not node.name.endswith(_BLOCKED) or kernel is None:
        return node
    if len(node.inputs) < 2 or len(node.outputs[0].shape) != len(kernel):
        return node
    data, weights, *others = node.inputs
    given, *rest = node.outputs
    batch, _, *spatial = given.shape
    return replace(
        node,
        inputs=(data, replace(weights, shape=kernel), *others),
        outputs=(replace(given, shape=(batch, kernel[0], *spatial)), *rest),
    )


def _convolution(weights: int) -> Callable[[Shapes, Shapes], int | None]:
    """Each output takes its share of the weights `(M, C/group, ...)`, whatever the layout.

    Args:
        weights: position of the weights among the inputs.
    """

    def count(inputs: Shapes, outputs: Shapes) -> int | None:
        kernel = inputs[weights]
        if len(kernel) != len(outputs[0]) or kernel[0] not in (outputs[0][1], outputs[0][-1]):
            return None
        return math.prod(outputs[0]) * math.prod(kernel[1:])

    return count


def _transposed_convolution(inputs: Shapes, outputs: Shapes) -> int | None:
    """Each input takes its share of the weights `(C, M/group, ...)`."""
    data, kernel = inputs[0], inputs[1]
    if len(kernel) != len(data) or kernel[0] != data[1]:
        return None
    return math.prod(data) * math.prod(kernel[1:])


def _product(inputs: Shapes, outputs: Shapes) -> int | None:
    """`(..., M, K)` times `(..., K, N)`; the second may be packed, either may be transposed."""
    left, result = inputs[0], outputs[0]
    if len(left) == 1:
        return math.prod(result) * left[0]
    # A vector on the right takes the last dimension away.
    rows = left[-2] if len(result) < len(left) else result[-2]
    if rows not in left[-2:]:
        return None
    return math.prod(result) * (left[-2] * left[-1] // rows)


def _packed_product(inputs: Shapes, outputs: Shapes) -> int:
    """`(..., K)` times weights of few bits, which tell no K."""
    return math.prod(outputs[0]) * inputs[0][-1]


def _recurrent(inputs: Shapes, outputs: Shapes) -> int | None:
    """`(steps, batch, I)`, both weights `(directions, gates x H, I or H)` once a step."""
    data, weights, recurrence = inputs[0], inputs[1], inputs[2]
    if not len(data) == len(weights) == len(recurrence) == 3:
        return None
    return data[0] * data[1] * (math.prod(weights) + math.prod(recurrence))


def _joint_attention(inputs: Shapes, outputs: Shapes) -> int | None:
    """com.microsoft.Attention: the projection to queries, keys and values, then both products.

    `(B, S, I)`, weights `(I, 3 H)`; a past makes keys longer and is told by no input for certain.
    """
    data, weights, result = inputs[0], inputs[1], outputs[0]
    if len(data) != 3 or len(weights) != 2 or len(outputs) > 1:
        return None
    if data[-1] != weights[0] or weights[1] != 3 * result[-1]:
        return None
    batch, steps, _ = data
    return batch * steps * (math.prod(weights) + 2 * steps * result[-1])


def _attention(inputs: Shapes, outputs: Shapes) -> int | None:
    """Queries, keys and values `(B, S, H)` or `(B, heads, S, D)`; a mask saves nothing here."""
    if len(outputs) > 1 or len(inputs) < 3:
        return None
    query, key, value = inputs[:3]
    if not len(query) == len(key) == len(value) == len(outputs[0]) or len(query) not in (3, 4):
        return None
    if key[-2] != value[-2] or query[0] != key[0]:
        return None
    return (math.prod(query) + math.prod(outputs[0])) * key[-2]


def _either_attention(inputs: Shapes, outputs: Shapes) -> int | None:
    """ONNX's takes keys second, com.microsoft's takes weights: a matrix."""
    return (_joint_attention if len(inputs[1]) == 2 else _attention)(inputs, outputs)


_COUNTS: Mapping[str, Callable[[Shapes, Shapes], int | None]] = MappingProxyType(
    {
        **dict.fromkeys(("Conv", "FusedConv", "NhwcConv", "NhwcFusedConv"), _convolution(1)),
        "ConvInteger": _convolution(1),
        "QLinearConv": _convolution(3),
        "ConvTranspose": _transposed_convolution,
        "ConvTransposeWithDynamicPads": _transposed_convolution,
        **dict.fromkeys(("MatMul", "FusedMatMul", "TransposeMatMul"), _product),
        **dict.fromkeys(("FusedMatMulActivation", "GemmFastGelu"), _product),
        **dict.fromkeys(("Gemm", "FusedGemm", "QGemm"), _product),
        **dict.fromkeys(("MatMulInteger", "MatMulInteger16", "QLinearMatMul"), _product),
        **dict.fromkeys(("MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _product),
        **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), _packed_product),
        **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
        "QAttention": _joint_attention,
        "Attention": _either_attention,
        "MultiHeadAttention": _attention,
    }
)
# Their 8-bit inputs meet in 8-bit products; MatMulNBits unpacks its weights or not, as it likes.
_INTEGER = frozenset(
    {
        *("ConvInteger", "QLinearConv", "QGemm", "MatMulInteger", "MatMulIntegerToFloat"),
        *("QLinearMatMul", "QAttention"),
    }
)
