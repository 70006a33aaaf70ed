"""Scale and channel order folded into a model's first node, where that changes no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.preprocess.surgery import Names, Use, add_constant, constant, drop_unused, uses
from edgeinfer.records import dataclass
from edgeinfer.spec import InputSpec

if TYPE_CHECKING:
    import onnx

    from edgeinfer.frames import Array

_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Folded:
    """What needs no node of its own any more.

    Attributes:
        order: the first node takes channels as they come: blue first.
        scale: it takes pixels less their mean, in steps of a pixel's own.
    """

    order: bool = False
    scale: bool = False


def fold(model: onnx.ModelProto, spec: InputSpec, names: Names) -> Folded:
    """Fold what can be folded exactly into the sole reader of the model's input.

    A mean is never folded: a convolution pads with zeros after it was subtracted, and with
    pixels of value zero before. The scale behind it may be: what is padded with is zero either way.

    Args:
        model: is changed.
        spec: of the input, as the model has it.
    """
    reader = _sole_reader(model.graph, spec)
    if reader is None or reader.node is None:
        return Folded()
    if reader.node.op_type == "Conv":
        return _into_conv(model, reader.node, spec, names)
    shifts = any(offset for _, offset in spec.per_channel())
    if reader.node.op_type == "QuantizeLinear" and not shifts:
        return _into_quantize(model, reader.node, spec, names)
    return Folded()


def _sole_reader(graph: onnx.GraphProto, spec: InputSpec) -> Use | None:
    """The only node that reads the picture, as its first input and outside inner graphs."""
    reader = _only(uses(graph, spec.name))
    if reader is None or reader.node is None or spec.layout == "nchw":
        return reader
    # Models from TensorFlow take (N, H, W, C) and begin by turning it into (N, C, H, W).
    perm = next((list(a.ints) for a in reader.node.attribute if a.name == "perm"), [])
    if reader.node.op_type != "Transpose" or perm != [0, 3, 1, 2]:
        return None
    after = _only(uses(graph, reader.node.output[0]))
    return after if after and after.node and after.node.op_type == "Conv" else None


def _only(found: list[Use]) -> Use | None:
    if len(found) != 1 or found[0].node is None or found[0].inner or found[0].index != 0:
        return None
    return found[0] if found[0].node.domain in _STANDARD else None


def _into_conv(
    model: onnx.ModelProto, node: onnx.NodeProto, spec: InputSpec, names: Names
) -> Folded:
    from onnx import numpy_helper

    tensor = constant(model, node.input[1])
    group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    if tensor is None or group != 1 or len(tensor.dims) != 4 or tensor.dims[1] != spec.channels:
        return Folded()
    weights: Array = numpy_helper.to_array(tensor)
    factors = np.array([factor for factor, _ in spec.per_channel()])
    swap = spec.color == "rgb"
    if not swap and (factors == 1).all():
        return Folded(order=True, scale=True)
    if weights.dtype not in (np.float32, np.float64) and (factors != 1).any():
        # A float16 weight divided by 255 falls among the subnormal numbers and loses its digits.
        return Folded()
    scaled = weights.astype(np.float64) * factors[:, None, None]
    if swap:
        scaled = scaled[:, ::-1]
    old, new = node.input[1], names.fresh(f"{node.input[1]}_for_bytes")
    add_constant(model, new, np.ascontiguousarray(scaled.astype(weights.dtype)))
    node.input[1] = new
    drop_unused(model, old)
    return Folded(order=True, scale=True)


def _into_quantize(
    model: onnx.ModelProto, node: onnx.NodeProto, spec: InputSpec, names: Names
) -> Folded:
    from onnx import numpy_helper

    factors = {factor for factor, _ in spec.per_channel()}
    scale = constant(model, node.input[1])
    plain = all(attribute.name == "axis" for attribute in node.attribute)
    if len(factors) != 1 or scale is None or not plain or spec.dtype != "float32":
        return Folded()
    zero: Array | None = np.zeros((), np.uint8)
    if len(node.input) > 2 and node.input[2]:
        stored = constant(model, node.input[2])
        zero = None if stored is None else numpy_helper.to_array(stored)
    step: Array = numpy_helper.to_array(scale)
    if zero is None or zero.dtype not in (np.uint8, np.int8) or step.size != 1 or zero.size != 1:
        return Folded()
    (factor,) = factors
    folded = _equal_step(step, zero, factor)
    if folded is None:
        return Folded()
    old, new = node.input[1], names.fresh(f"{node.input[1]}_for_bytes")
    add_constant(model, new, folded)
    node.input[1] = new
    drop_unused(model, old)
    return Folded(scale=True)


def _equal_step(step: Array, zero: Array, factor: float) -> Array | None:
    """The step that quantizes bytes as the old one quantizes scaled bytes.

    Rounding in the scale may move a value across the middle between two levels, so all 256 pixel
    values are tried.

    Returns:
        float32 in the shape of `step`; None where one value would come out differently.
    """
    pixels = np.arange(256, dtype=np.float32)
    folded = (step.astype(np.float64) / factor).astype(np.float32)
    if step.dtype != np.float32 or not np.isfinite(folded).all() or (folded <= 0).any():
        return None
    before = _quantized(pixels * np.float32(factor), step, zero)
    same = np.array_equal(before, _quantized(pixels, folded, zero))
    return folded if same else None


def _quantized(values: Array, step: Array, zero: Array) -> Array:
    limits = np.iinfo(zero.dtype)
    levels = np.rint(values / step.reshape(())) + float(zero.reshape(()))
    return np.clip(levels, limits.min, limits.max)
