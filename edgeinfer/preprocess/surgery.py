"""Small operations on ONNX graphs that know about the graphs inside nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgeinfer.records import dataclass

if TYPE_CHECKING:
    import onnx

    from edgeinfer.frames import Array


@dataclass(frozen=True, eq=False)
class Use:
    """A place where a value is read.

    Attributes:
        node: the reader; None where the value is an output of a graph.
        index: which of its inputs.
        inner: whether the reader lies in a graph inside a node.
    """

    node: onnx.NodeProto | None
    index: int
    inner: bool


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node: the branches of an If, the body of a Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _defines(graph: onnx.GraphProto, name: str) -> bool:
    return (
        any(item.name == name for item in graph.input)
        or any(item.name == name for item in graph.initializer)
        or any(name in node.output for node in graph.node)
    )


def uses(graph: onnx.GraphProto, name: str, inner: bool = False) -> list[Use]:
    """Every place that reads a value, graphs inside nodes included unless they hide the name."""
    found = [Use(None, index, inner) for index, o in enumerate(graph.output) if o.name == name]
    for node in graph.node:
        found += [Use(node, index, inner) for index, item in enumerate(node.input) if item == name]
        for body in subgraphs(node):
            if not _defines(body, name):
                found += uses(body, name, inner=True)
    return found


def rewire(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node that reads one value read another, graphs inside nodes included."""
    for node in graph.node:
        for index, item in enumerate(node.input):
            if item == old:
                node.input[index] = new
        for body in subgraphs(node):
            if not _defines(body, old):
                rewire(body, old, new)
                for output in body.output:
                    if output.name == old:
                        output.name = new


def _all_names(graph: onnx.GraphProto) -> Iterator[str]:
    for item in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield item.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield node.name
        yield from node.output
        for body in subgraphs(node):
            yield from _all_names(body)


class Names:
    """Hands out names that a graph does not use yet."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = set(_all_names(graph))

    def fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def constant(model: onnx.ModelProto, name: str) -> Any | None:
    """The stored tensor of that name.

    Returns:
        An `onnx.TensorProto`; None where there is none, a caller may override it (it is also an
        input; before IR version 4 every stored tensor had to be one), or it lies in another file.
    """
    import onnx

    tensor = next((item for item in model.graph.initializer if item.name == name), None)
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    if model.ir_version >= 4 and any(item.name == name for item in model.graph.input):
        return None
    return tensor


def add_constant(model: onnx.ModelProto, name: str, values: Array) -> None:
    """Store a tensor."""
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(values, name)
    model.graph.initializer.append(tensor)
    if model.ir_version < 4:
        kind = helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
        model.graph.input.append(kind)


def drop_unused(model: onnx.ModelProto, name: str) -> None:
    """Remove a stored tensor that nothing reads any more."""
    graph = model.graph
    if uses(graph, name):
        return
    for items in (graph.initializer, graph.input):
        remove(items, name)


def remove(items: Any, name: str) -> None:
    """Remove the entries of that name from a repeated field, leaving the others where they are."""
    for index in reversed(range(len(items))):
        if items[index].name == name:
            del items[index]
