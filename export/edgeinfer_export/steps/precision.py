"""Which precision a source already has: only FP32 can become what it is not yet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeinfer.artifact import nodes_of, tensors_of
from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    import onnx

# The contrib forms have the same names in another domain, and a few of their own.
_QUANTIZED_OPS = (
    "ConvInteger",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulNBits",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
)


def check_fp32_source(model: onnx.ModelProto) -> None:
    """Refuse a source whose numbers were narrowed before.

    Raises:
        ModelFileError: if it is quantized, or most of its weights are float16.
    """
    found = sorted({node.op_type for node in nodes_of(model.graph)} & set(_QUANTIZED_OPS))
    if found:
        raise ModelFileError(
            f"This model is quantized already (it holds {', '.join(found)}): give the FP32 model "
            f"that it was made from."
        )
    if _mostly_half(model):
        raise ModelFileError(
            "This model computes in float16: this version converts FP32 models only. Give the "
            "FP32 model that it was made from, or run this one as it is."
        )


def _mostly_half(model: onnx.ModelProto) -> bool:
    import onnx

    half = full = 0
    for tensor in tensors_of(model.graph):
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            half += math.prod(tensor.dims)
        elif tensor.data_type == onnx.TensorProto.FLOAT:
            full += math.prod(tensor.dims)
    return half > full
