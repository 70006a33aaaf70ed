"""Settle dimensions that a graph leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeinfer.errors import UsageError, suggest
from edgeinfer_export.sources.base import Shape

if TYPE_CHECKING:
    import onnx


def settle_shapes(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
    """Give inputs the shapes that the user named; a word keeps a dimension open, by that name.

    A name that the graph gives to several dimensions is settled everywhere.

    Raises:
        UsageError: for an input that does not exist, or a shape that contradicts the graph.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = {item.name: item for item in model.graph.input if item.name not in stored}
    numbers: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise UsageError(f"The model has no input '{name}'. {suggest(name, inputs)}")
        _settle(inputs[name], shape, numbers)
    if not shapes:
        return
    for item in (*model.graph.input, *model.graph.output):
        for dim in item.type.tensor_type.shape.dim:
            if dim.HasField("dim_param") and dim.dim_param in numbers:
                dim.dim_value = numbers[dim.dim_param]
    del model.graph.value_info[:]  # inferred anew from what is now known


def check_open(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
    """Refuse words for dimensions that the graph has fixed: nothing opens them.

    Args:
        model: settled by these shapes.

    Raises:
        UsageError: naming the dimension and its size.
    """
    for item in model.graph.input:
        dims = item.type.tensor_type.shape.dim
        for place, wanted in enumerate(shapes.get(item.name, ())):
            if isinstance(wanted, str) and dims[place].dim_value > 0:
                size = dims[place].dim_value
                raise UsageError(
                    f"Dimension {place} of the input '{item.name}' is fixed at {size} in the "
                    f"model, and --input-shape calls it '{wanted}', which would leave it open: "
                    f"give {size}, or export the model anew with that dimension open."
                )


def _settle(item: onnx.ValueInfoProto, shape: Shape, numbers: dict[str, int]) -> None:
    kind = item.type.tensor_type
    dims = kind.shape.dim
    if not kind.HasField("shape"):
        for _ in shape:
            dims.add()
    if len(dims) != len(shape):
        raise UsageError(
            f"The input '{item.name}' has {len(dims)} dimensions; --input-shape gives it "
            f"{len(shape)} ({'x'.join(map(str, shape))})."
        )
    for place, (dim, wanted) in enumerate(zip(dims, shape, strict=True)):
        if isinstance(wanted, str):
            if not dim.HasField("dim_value"):
                dim.dim_param = wanted
            continue
        if wanted < 1:
            raise UsageError(f"--input-shape gives '{item.name}' a dimension of {wanted}.")
        if dim.HasField("dim_value") and dim.dim_value not in (0, wanted):
            raise UsageError(
                f"Dimension {place} of the input '{item.name}' is {dim.dim_value} in the model; "
                f"--input-shape says {wanted}. Leave it out, or export the model anew for it."
            )
        if dim.HasField("dim_param") and dim.dim_param:
            numbers[dim.dim_param] = wanted
        dim.dim_value = wanted
