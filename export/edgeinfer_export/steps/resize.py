"""Give a graph another picture size, where that changes nothing but the size."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgeinfer.errors import EdgeInferError, SpecError
from edgeinfer.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    import onnx

SizeHW = tuple[int, int]


def picture_of(spec: ModelSpec) -> InputSpec:
    """The picture input of a spec.

    Raises:
        SpecError: if there is none.
    """
    for item in spec.inputs:
        if item.kind == "image":
            return item
    raise SpecError("This model takes no picture, so it has no input size to choose.")


def sized_spec(spec: ModelSpec, size_hw: SizeHW) -> ModelSpec:
    """The same spec for another size of the picture."""
    picture = picture_of(spec)
    inputs = tuple(
        dataclasses.replace(item, size_hw=size_hw) if item is picture else item
        for item in spec.inputs
    )
    return dataclasses.replace(spec, inputs=inputs)


def shape_for(model: onnx.ModelProto, spec: ModelSpec, size_hw: SizeHW) -> tuple[int, ...]:
    """The shape of the picture input at a size; an open batch becomes 1.

    Raises:
        SpecError: if the graph has no such input of four dimensions.
    """
    picture = picture_of(spec)
    value = next((item for item in model.graph.input if item.name == picture.name), None)
    dims = [] if value is None else list(value.type.tensor_type.shape.dim)
    if len(dims) != 4:
        raise SpecError(f"The input '{picture.name}' has no four dimensions to set a size of.")
    shape = [dim.dim_value or 1 for dim in dims]
    first = 2 if picture.layout == "nchw" else 1
    shape[first : first + 2] = size_hw
    return tuple(int(size) for size in shape)


def resized(model: onnx.ModelProto, spec: ModelSpec, size_hw: SizeHW) -> onnx.ModelProto:
    """Copy a graph for another picture size.

    Exact for graphs whose nodes follow the size of what they take in. Sizes that were written into
    the graph (grids, position tables, fixed target sizes) do not follow: such a graph is refused.

    Raises:
        SpecError: naming the node that holds on to the old size.
    """
    import onnx

    picture = picture_of(spec)
    shape = shape_for(model, spec, size_hw)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    value = next(item for item in copy.graph.input if item.name == picture.name)
    old = [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
    if list(shape) == old:
        return copy
    _refuse_fixed_sizes(copy, size_hw)
    for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True)
    except Exception as error:
        raise _holds_on(str(error), size_hw) from error
    _run_once(inferred, picture.name, shape, size_hw)
    return inferred


def _refuse_fixed_sizes(model: onnx.ModelProto, size_hw: SizeHW) -> None:
    """A Resize to fixed sizes runs at any input size, and means another thing at each."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    fixed |= {n.output[0] for n in model.graph.node if n.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type == "Resize" and len(node.input) > 3 and node.input[3] in fixed:
            raise _holds_on(f"the node '{node.name}' (Resize) has a fixed target size", size_hw)


def _run_once(model: onnx.ModelProto, name: str, shape: tuple[int, ...], size_hw: SizeHW) -> None:
    import numpy as np

    from edgeinfer_export.quantize.taps import Taps
    from edgeinfer_export.steps.meaning import tensor_spec

    inputs = {}
    for value in model.graph.input:
        tensor = tensor_spec(value)
        dims = tuple(dim if isinstance(dim, int) else 1 for dim in tensor.shape)
        inputs[tensor.name] = np.zeros(shape if tensor.name == name else dims, tensor.dtype)
    try:
        for _ in Taps(model, [value.name for value in model.graph.output]).run(inputs):
            pass
    except EdgeInferError as error:
        raise _holds_on(str(error), size_hw) from error


def _holds_on(why: str, size_hw: SizeHW) -> SpecError:
    first = why.strip().splitlines()[0][:300]
    return SpecError(
        f"This model cannot take pictures of {size_hw[1]}x{size_hw[0]}: its graph holds on to the "
        f"size that it was exported with ({first}). Export it again from its framework for each "
        f"size, or with open height and width (--input-shape)."
    )
