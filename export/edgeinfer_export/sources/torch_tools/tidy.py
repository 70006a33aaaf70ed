"""What torch's exporters leave in a graph, brought into the form that readers promise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import ModelFileError, UsageError, suggest
from edgeinfer_export.sources.base import Shape
from edgeinfer_export.steps.clean import MAX_IR_VERSION

if TYPE_CHECKING:
    import onnx

# s0, s77 (torch.export), u0 (sizes that depend on values), and what is computed from them.
_SYMBOL = re.compile(r"\b[su]\d+\b")


def tidy(model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> onnx.ModelProto:
    """A copy without traces of the machine, with readable names and the shapes that were asked for.

    Args:
        inputs: shapes that the user asked for, by input; a number closes an open dimension, a word
            names it.

    Raises:
        UsageError: if there is no such input, or the program is made for another shape.
    """
    import onnx.inliner

    copy = onnx.inliner.inline_local_functions(model) if model.functions else model
    copy.ir_version = min(copy.ir_version, MAX_IR_VERSION)
    copy.doc_string = ""
    copy.graph.name = "main"
    _forget(copy)
    del copy.graph.value_info[:]
    names = _readable(copy.graph)
    names.update(_wanted(copy.graph, inputs, names))
    _rename(copy.graph, names)
    return copy


def open_outputs(
    model: onnx.ModelProto,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
) -> bool:
    """Open the dimensions of outputs that follow the inputs' sizes, in place.

    Exporters note the size of their example on some of them, recurrent nets' above all.

    Args:
        inputs: shapes other than the example's where dimensions are open.
        outputs: shapes that the program gave for them.

    Returns:
        Whether anything changed.
    """
    names = {
        size: dim.dim_param
        for value in model.graph.input
        for dim, size in zip(
            value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False
        )
        if dim.dim_param
    }
    changed = False
    for value in model.graph.output:
        shape = outputs.get(value.name, ())
        dims = value.type.tensor_type.shape.dim
        for axis, (dim, size) in enumerate(zip(dims, shape, strict=False)):
            if dim.dim_value and dim.dim_value != size:
                dim.dim_param = names.get(size, f"{value.name}_{axis}")
                changed = True
    return changed


def _forget(model: onnx.ModelProto) -> None:
    """Stack traces, module paths and notes of the exporter."""
    from edgeinfer.artifact import nodes_of

    graph = model.graph
    for item in (model, graph, *graph.input, *graph.output, *graph.initializer):
        _empty(item)
    for node in nodes_of(graph):
        _empty(node)


def _empty(item: Any) -> None:
    item.doc_string = ""
    if hasattr(item, "metadata_props"):
        del item.metadata_props[:]


def _dimensions(values: Iterable[onnx.ValueInfoProto]) -> Iterable[Any]:
    for value in values:
        yield from value.type.tensor_type.shape.dim


def _readable(graph: onnx.GraphProto) -> dict[str, str | int]:
    """Names for the exporter's symbols, after the place where each is met first."""
    names: dict[str, str | int] = {}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, dim in enumerate(dims):
            if _SYMBOL.fullmatch(dim.dim_param) and dim.dim_param not in names:
                name = _usual_name(value.name, axis, len(dims))
                names[dim.dim_param] = (
                    name if name not in names.values() else f"{value.name}_{axis}"
                )
    return names


def _usual_name(name: str, axis: int, rank: int) -> str:
    if axis == 0 and rank > 1:
        return "batch"
    if rank == 4 and axis in (2, 3):
        return "height" if axis == 2 else "width"
    return f"{name}_{axis}"


def _wanted(
    graph: onnx.GraphProto, inputs: Mapping[str, Shape], readable: Mapping[str, str | int]
) -> dict[str, str | int]:
    """What the user's shapes make of the open dimensions."""
    known = {value.name: value for value in graph.input}
    names: dict[str, str | int] = {}
    for name, shape in inputs.items():
        if name not in known:
            raise UsageError(f"The model has no input '{name}'. {suggest(name, known)}")
        dims = known[name].type.tensor_type.shape.dim
        shown = [dim.dim_value or readable.get(dim.dim_param, dim.dim_param) for dim in dims]
        fits = len(shape) == len(dims) and all(
            dim.dim_param or dim.dim_value == size for dim, size in zip(dims, shape, strict=True)
        )
        if not fits:
            raise UsageError(
                f"--input-shape {name}:{_text(shape)} does not fit: the program was made for "
                f"{name}:{_text(shown)}, and only words may be filled in. Export it from its "
                f"source with other shapes."
            )
        for dim, size in zip(dims, shape, strict=True):
            if dim.dim_param and names.setdefault(dim.dim_param, size) != size:
                raise UsageError(
                    f"--input-shape {name}:{_text(shape)} gives one dimension two sizes: in the "
                    f"program, {name}:{_text(shown)}, they are the same."
                )
    return names


def _rename(graph: onnx.GraphProto, names: Mapping[str, str | int]) -> None:
    for dim in _dimensions((*graph.input, *graph.output)):
        found = names.get(dim.dim_param)
        if isinstance(found, int):
            dim.dim_value = found
        elif isinstance(found, str):
            dim.dim_param = found
        elif dim.dim_param:
            dim.dim_param = _SYMBOL.sub(
                lambda match: str(names.get(match.group(), match.group())), dim.dim_param
            )


def _text(shape: Sequence[int | str]) -> str:
    return "x".join(str(size) for size in shape)


def check_size(model: onnx.ModelProto) -> None:
    """Refuse what one protobuf message cannot hold.

    Raises:
        ModelFileError: with the size.
    """
    size = model.ByteSize()
    if size >= 1 << 31:
        raise ModelFileError(
            f"The converted model takes {size / (1 << 30):.1f} GiB; the limit for export is 2 GiB."
        )
