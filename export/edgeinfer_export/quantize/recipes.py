"""How numbers are stored for each kind of box.

Measured on x86-64: unsigned activations with signed weights are 1.5 to 4 times faster than signed
with signed. Without VNNI their products saturate, unless weights keep to 7 bits. ARM's kernels
take signed activations well. See "Choosing parameters for CPU inference" in
`onnxruntime.quantization.quantize_static` and
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Recipe:
    """Number formats of a target.

    Attributes:
        activation: name of an `onnxruntime.quantization.QuantType`.
        weight: the same; weights are symmetric and per channel.
        reduce_range: whether weights keep to 7 bits.
    """

    activation: str
    weight: str
    reduce_range: bool


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "x86-any": Recipe("QUInt8", "QInt8", reduce_range=True),
        "x86-vnni": Recipe("QUInt8", "QInt8", reduce_range=False),
        "arm": Recipe("QInt8", "QInt8", reduce_range=False),
    }
)

METHODS: Mapping[str, str] = MappingProxyType(
    {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
)

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
