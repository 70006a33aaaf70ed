"""How numbers are stored for each kind of box.

Measured on x86-64: unsigned activations with signed weights are 1.5 to 4 times faster than signed
with signed. Without VNNI their products saturate, unless weights keep to 7 bits. ARM's kernels
take signed activations well. See "Choosing parameters for CPU inference" in
`onnxruntime.quantization.quantize_static` and
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.

TensorRT takes symmetric int8 only, wants Q and DQ around float weights, leaves biases in float,
and fuses a convolution with the sum behind it where only the other branch carries QDQ
(https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html,
"Q/DQ Layer-Placement Recommendations"). OpenVINO turns QDQ into FakeQuantize on the inputs of
layers, with unsigned activations, symmetric weights and float biases, as NNCF places it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Operators that ONNX Runtime computes in 8 bits on a CPU. ConvTranspose has no such kernel there;
# normalizations, Softmax and TopK lose accuracy for no speed.
OP_TYPES = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
# Compilers fuse what is cheap by themselves: only the inputs of what costs are narrowed.
_LAYERS = ("AveragePool", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul")


@dataclass(frozen=True)
class Recipe:
    """Number formats of a target, and where they are put.

    Attributes:
        activation: name of an `onnxruntime.quantization.QuantType`; signed ones are symmetric.
        weight: the same; weights are symmetric and per channel.
        reduce_range: whether weights keep to 7 bits.
        op_types: operators whose inputs are narrowed.
        inputs_only: whether outputs of layers stay in float until somebody narrows them.
        float_weights: whether weights are stored in float, with Q and DQ behind them.
        int_bias: whether biases are stored as 32-bit integers.
        skip_sums: whether the branch beside a layer is narrowed before an addition.
    """

    activation: str
    weight: str
    reduce_range: bool
    op_types: tuple[str, ...] = OP_TYPES
    inputs_only: bool = False
    float_weights: bool = False
    int_bias: bool = True
    skip_sums: bool = False


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "x86-any": Recipe("QUInt8", "QInt8", reduce_range=True),
        "x86-vnni": Recipe("QUInt8", "QInt8", reduce_range=False),
        "arm": Recipe("QInt8", "QInt8", reduce_range=False),
        "tensorrt": Recipe(
            "QInt8",
            "QInt8",
            reduce_range=False,
            op_types=_LAYERS,
            inputs_only=True,
            float_weights=True,
            int_bias=False,
            skip_sums=True,
        ),
        "openvino": Recipe(
            "QUInt8",
            "QInt8",
            reduce_range=False,
            op_types=(*_LAYERS, "Add", "MaxPool"),
            inputs_only=True,
            int_bias=False,
        ),
    }
)
