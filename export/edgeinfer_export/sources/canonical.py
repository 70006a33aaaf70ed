"""One order and one set of names for a graph, whatever its converter happened to choose.

tf2onnx walks sets of objects, whose order changes from run to run: numbers in names, the order of
nodes, and which of two equal constants stays. The same model shall give the same bytes. Which of
two equal nodes stays cannot be told here any more: `tensorflow_model.number_nodes` sees to that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_NUMBER = re.compile(r"__\d+")


def canonical(model: onnx.ModelProto) -> None:
    """Rewrite a model's graph in place: nodes in the order in which its outputs need them."""
    taken: dict[str, int] = {}
    for value in (*model.graph.input, *model.graph.output):
        taken[value.name] = 1
    _rewrite(model.graph, {}, taken)


def _rewrite(graph: onnx.GraphProto, outer: dict[str, str], taken: dict[str, int]) -> None:
    """Order and rename one graph and those inside it.

    Args:
        outer: new names of tensors around it.
        taken: how often a name was given.
    """
    nodes = _ordered(graph)
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names = {**outer, **{name: name for name in fixed}}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[onnx.TensorProto] = []
    same: dict[bytes, str] = {}
    for node in nodes:
        node.name = _free(_NUMBER.sub("", node.name or node.op_type), taken)
        for place, given in enumerate(node.input):
            if given in constants and given not in names:
                names[given] = _constant(constants[given], f"{node.name}/{place}", same, kept)
        for place, made in enumerate(node.output):
            if made and made not in fixed:
                names[made] = _free(f"{node.name}:{place}", taken)
        for inner in _graphs(node):
            for name in sorted(_reads(inner) & constants.keys() - names.keys()):
                names[name] = _constant(constants[name], f"{node.name}/inner", same, kept)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        copied = [
            type(attribute).FromString(attribute.SerializeToString()) for attribute in attributes
        ]
        del node.attribute[:]
        node.attribute.extend(copied)
        for inner in _graphs(node):
            _rename_ends(inner, names, taken)
            _rewrite(inner, names, taken)
    kept.extend(constants[name] for name in constants if name in fixed)
    for part, made_parts in ((graph.node, nodes), (graph.initializer, kept)):
        copies = [type(item).FromString(item.SerializeToString()) for item in made_parts]
        del part[:]
        part.extend(copies)
    del graph.value_info[:]


def _ordered(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Copies of the nodes that the outputs need, each after what it reads, outputs in turn."""
    makers = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    ordered = []
    stack = [(value.name, False) for value in reversed(graph.output)]
    while stack:
        name, ready = stack.pop()
        node = makers.get(name)
        if node is None or id(node) in done:
            continue
        if ready:
            done.add(id(node))
            ordered.append(type(node).FromString(node.SerializeToString()))
            continue
        stack.append((name, True))
        read = [*node.input, *(n for inner in _graphs(node) for n in _in_order(inner))]
        stack.extend((item, False) for item in reversed(read))
    return ordered


def _constant(
    tensor: onnx.TensorProto, name: str, same: dict[bytes, str], kept: list[onnx.TensorProto]
) -> str:
    """The new name of a constant; equal ones become one."""
    copy = type(tensor).FromString(tensor.SerializeToString())
    copy.name = copy.doc_string = ""
    key = copy.SerializeToString(deterministic=True)
    if key not in same:
        same[key] = copy.name = name
        kept.append(copy)
    return same[key]


def _rename_ends(graph: onnx.GraphProto, names: dict[str, str], taken: dict[str, int]) -> None:
    """New names for what a graph inside takes and gives, and for what it reads from outside."""
    ends = {value.name for value in (*graph.input, *graph.output)}
    made = {name for node in graph.node for name in node.output} | {v.name for v in graph.input}
    made |= {tensor.name for tensor in graph.initializer}
    fresh = {name: _free(_NUMBER.sub("", name), taken) for name in _in_order(graph) if name in ends}
    for value in (*graph.input, *graph.output):
        fresh.setdefault(value.name, _free(_NUMBER.sub("", value.name), taken))
        # What comes straight from outside keeps the name that it has there.
        value.name = fresh[value.name] if value.name in made else names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [fresh.get(name, name) if name in made else name for name in node.input]
        node.output[:] = [fresh.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = fresh.get(tensor.name, tensor.name)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in sorted(node.attribute, key=lambda attribute: attribute.name):
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _in_order(graph: onnx.GraphProto) -> list[str]:
    """What the nodes of a graph read, in the order in which its outputs need them."""
    found = []
    for node in _ordered(graph):
        found += [*node.input, *(name for inner in _graphs(node) for name in _in_order(inner))]
    return [*found, *(value.name for value in graph.output)]


def _reads(graph: onnx.GraphProto) -> set[str]:
    return set(_in_order(graph))


def _free(name: str, taken: dict[str, int]) -> str:
    """A name that was not given yet, by counting."""
    found = name
    while found in taken:
        taken[name] += 1
        found = f"{name}_{taken[name]}"
    taken[found] = 1
    return found
