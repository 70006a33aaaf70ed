"""Recurrent layers, which most kinds of INT8 leave in float: ONNX Runtime narrows the weights of an
LSTM where activations are narrowed as they come, and those of a GRU or RNN never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.artifact import nodes_of, tensors_of
from edgeinfer_export.steps.write import tensor_bytes

if TYPE_CHECKING:
    import onnx

_KINDS = ("GRU", "LSTM", "RNN")
_LEFT = {"int8": _KINDS, "int8-dynamic": ("GRU", "RNN")}


def recurrent_left(model: onnx.ModelProto, precision: str) -> tuple[str, ...]:
    """Names of the recurrent nodes that stay in float."""
    return tuple(node.name for node in _left(model, precision))


def better_precision(model: onnx.ModelProto, precision: str) -> str:
    """In words, what makes the recurrent nodes of a model smaller that stay in float."""
    if all(node.op_type == "LSTM" for node in _left(model, precision)):
        return "--precision int8-dynamic, which narrows LSTM"
    return "--precision fp16, as INT8 exists for LSTM only (int8-dynamic)"


def recurrent_notes(model: onnx.ModelProto, precision: str) -> tuple[str, ...]:
    """What to tell of recurrent nodes that stay in float, with their share of the weights."""
    left = _left(model, precision)
    if not left:
        return ()
    sizes = {tensor.name: tensor_bytes(tensor) for tensor in tensors_of(model.graph)}
    taken = {name for node in left for name in node.input if name in sizes}
    share = sum(sizes[name] for name in taken) / max(1, sum(sizes.values()))
    kinds = ", ".join(sorted({node.op_type for node in left}))
    return (
        f"{share:.0%} of the weights stay in float32, as those of {kinds} do in {precision}: "
        f"recommended is {better_precision(model, precision)}",
    )


def _left(model: onnx.ModelProto, precision: str) -> list[onnx.NodeProto]:
    kinds = _LEFT.get(precision, ())
    return [node for node in nodes_of(model.graph) if node.op_type in kinds]
