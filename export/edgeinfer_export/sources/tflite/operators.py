"""Every operator that is converted: TFLite's name, what converts it, where its activation lies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from edgeinfer_export.sources.tflite import convolutions as c
from edgeinfer_export.sources.tflite import elementwise as e
from edgeinfer_export.sources.tflite import recurrent as r
from edgeinfer_export.sources.tflite import shapes as s
from edgeinfer_export.sources.tflite import slices as p
from edgeinfer_export.sources.tflite.elementwise import Handler

# What follows an operator inside itself is number so-and-so of its options.
ACTIVATION_SLOTS: Mapping[str, int] = MappingProxyType(
    {
        "ADD": 0,
        "AVERAGE_POOL_2D": 5,
        "CONCATENATION": 1,
        "CONV_2D": 3,
        "DEPTHWISE_CONV_2D": 4,
        "DIV": 0,
        "FULLY_CONNECTED": 0,
        "L2_NORMALIZATION": 0,
        "L2_POOL_2D": 5,
        "MAX_POOL_2D": 5,
        "MUL": 0,
        "SUB": 0,
        "TRANSPOSE_CONV": 3,
    }
)

_SAME_NAME = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor",
    "HARD_SWISH": "HardSwish", "LOG": "Log", "LOGISTIC": "Sigmoid", "NEG": "Neg", "RELU": "Relu",
    "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt", "TANH": "Tanh",
    "LOGICAL_NOT": "Not", "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "POW": "Pow",
    "MAXIMUM": "Max", "MINIMUM": "Min", "EQUAL": "Equal", "LESS": "Less", "GREATER": "Greater",
    "LESS_EQUAL": "LessOrEqual", "GREATER_EQUAL": "GreaterOrEqual", "LOGICAL_AND": "And",
    "LOGICAL_OR": "Or",
}  # fmt: skip

OPERATORS: Mapping[str, Handler] = MappingProxyType(
    {
        **{name: e.plain(onnx_name) for name, onnx_name in _SAME_NAME.items()},
        "ADD_N": e.add_n,
        "ARG_MAX": cast(Handler, p.arg("ArgMax")),
        "ARG_MIN": cast(Handler, p.arg("ArgMin")),
        "AVERAGE_POOL_2D": c.average_pool_2d,
        "BATCH_MATMUL": c.batch_matmul,
        "BATCH_TO_SPACE_ND": s.batch_to_space_nd,
        "BROADCAST_TO": s.broadcast_to,
        "CAST": e.cast,
        "CONCATENATION": s.concatenation,
        "CONV_2D": c.conv_2d,
        "CUMSUM": p.cumsum,
        "DEPTHWISE_CONV_2D": c.depthwise_conv_2d,
        "DEPTH_TO_SPACE": s.depth_to_space,
        "DEQUANTIZE": e.same_value,
        "EMBEDDING_LOOKUP": p.embedding_lookup,
        "EXPAND_DIMS": s.expand_dims,
        "FAKE_QUANT": e.fake_quant,
        "FILL": s.fill,
        "FLOOR_DIV": e.floor_div,
        "FLOOR_MOD": e.floor_mod,
        "FULLY_CONNECTED": c.fully_connected,
        "GATHER": p.gather,
        "GATHER_ND": p.gather_nd,
        "GELU": e.gelu,
        "L2_NORMALIZATION": e.l2_normalization,
        "L2_POOL_2D": c.l2_pool_2d,
        "LEAKY_RELU": e.leaky_relu,
        "LOCAL_RESPONSE_NORMALIZATION": e.local_response_normalization,
        "LOG_SOFTMAX": e.log_softmax,
        "MAX_POOL_2D": c.max_pool_2d,
        "MEAN": cast(Handler, p.reduce("ReduceMean")),
        "MIRROR_PAD": s.pad,
        "NOT_EQUAL": e.negated("Equal"),
        "ONE_HOT": p.one_hot,
        "PACK": s.pack,
        "PAD": s.pad,
        "PADV2": s.pad,
        "PRELU": e.prelu,
        "QUANTIZE": e.same_value,
        "RANGE": s.value_range,
        "REDUCE_MAX": cast(Handler, p.reduce("ReduceMax")),
        "REDUCE_MIN": cast(Handler, p.reduce("ReduceMin")),
        "REDUCE_PROD": cast(Handler, p.reduce("ReduceProd")),
        "RELU6": e.clipped(0.0, 6.0),
        "RELU_0_TO_1": e.clipped(0.0, 1.0),
        "RELU_N1_TO_1": e.clipped(-1.0, 1.0),
        "RESHAPE": s.reshape,
        "RESIZE_BILINEAR": cast(Handler, p.resize("linear")),
        "RESIZE_NEAREST_NEIGHBOR": cast(Handler, p.resize("nearest")),
        "REVERSE_V2": p.reverse_v2,
        "RSQRT": e.rsqrt,
        "SELECT": e.select,
        "SELECT_V2": e.select,
        "SHAPE": s.shape_of,
        "SLICE": p.slice_op,
        "SOFTMAX": e.softmax,
        "SPACE_TO_BATCH_ND": s.space_to_batch_nd,
        "SPACE_TO_DEPTH": s.space_to_depth,
        "SPLIT": s.split,
        "SPLIT_V": s.split_v,
        "SQUARE": e.square,
        "SQUARED_DIFFERENCE": e.squared_difference,
        "SQUEEZE": s.squeeze,
        "STRIDED_SLICE": p.strided_slice,
        "SUM": cast(Handler, p.reduce("ReduceSum")),
        "TILE": s.tile,
        "TOPK_V2": p.topk_v2,
        "TRANSPOSE": s.transpose,
        "TRANSPOSE_CONV": c.transpose_conv,
        "UNIDIRECTIONAL_SEQUENCE_LSTM": r.unidirectional_sequence_lstm,
        "UNPACK": s.unpack,
        "WHERE": p.where_op,
        "ZEROS_LIKE": e.zeros_like,
    }
)
