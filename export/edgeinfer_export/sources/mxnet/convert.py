"""From an MXNet symbol to an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.base import Shape
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.shapes import input_shape, refuse_unknown_inputs
from edgeinfer_export.sources.mxnet import detect, neural, pointwise, shapes
from edgeinfer_export.sources.mxnet.attributes import Attributes
from edgeinfer_export.sources.mxnet.node import Node

if TYPE_CHECKING:
    import onnx

OPERATORS: Mapping[str, Callable[[Graph, Node], list[str]]] = MappingProxyType(
    {**neural.OPERATORS, **pointwise.OPERATORS, **shapes.OPERATORS, **detect.OPERATORS}
)
# Their last input is the label, which only training has.
_WITH_LABEL = frozenset(
    (
        "LinearRegressionOutput",
        "LogisticRegressionOutput",
        "MAERegressionOutput",
        "SVMOutput",
        "Softmax",
        "SoftmaxOutput",
    )
)


@dataclass(frozen=True, eq=False)
class Converted:
    """A graph, and how to find its outputs in the source.

    Attributes:
        model: the graph.
        comparable: outputs that MXNet gives in the same layout, to their numbers there.
        notes: for people.
    """

    model: onnx.ModelProto
    comparable: Mapping[str, int]
    notes: tuple[str, ...]


def convert(
    symbol: Mapping[str, Any],
    params: Mapping[str, Array],
    where: str,
    params_name: str,
    given: Mapping[str, Shape],
) -> Converted:
    """Convert a symbol.

    Args:
        where: the file that the symbol is from.
        params_name: the file that its parameters are from.
        given: shapes that the user gives to inputs.

    Raises:
        ModelFileError: for an operator that is not supported, or parameters that do not fit.
        UsageError: if the shape of an input is needed.
    """
    entries, heads = _parts(symbol, where)
    run = _Run(
        Graph(where.partition(".")[0].removesuffix("-symbol"), where), params, given, entries
    )
    run.needed = _needed(entries, heads)
    for number, entry in enumerate(entries):
        if number in run.needed:
            run.add(number, entry)
    refuse_unknown_inputs(given, run.graph.inputs)
    if not run.graph.inputs:
        raise ModelFileError(
            f"{where} has no input besides the parameters in {params_name}: they do not belong "
            f"together."
        )
    outputs: dict[str, str] = {}
    comparable: dict[str, int] = {}
    notes: list[str] = []
    for position, (number, index) in enumerate(heads):
        name = str(entries[number]["name"])
        public = name if name not in outputs else f"{name}_{index}"
        if not 0 <= index < len(run.results[number]):
            raise ModelFileError(f"{where}: its head {index} of '{name}' does not exist.")
        outputs[public] = run.results[number][index]
        if entries[number]["op"] in detect.OWN_LAYOUT:
            notes.append(f"'{public}' is [1, N, 6]: corners in pixels of the input, score, class.")
        else:
            comparable[public] = position
    return Converted(run.graph.model(outputs), comparable, tuple(notes))


def _parts(
    symbol: Mapping[str, Any], where: str
) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """Nodes and heads, with their forms checked."""
    try:
        entries = [dict(entry) for entry in symbol["nodes"]]
        for entry in entries:
            settings = entry.get("attrs") or entry.get("attr") or {}
            entry["attrs"] = {**settings, **(entry.get("param") or {})}
            entry["op"], entry["name"] = str(entry["op"]), str(entry["name"])
            entry["inputs"] = [(int(item[0]), int(item[1])) for item in entry["inputs"]]
        heads = [(int(item[0]), int(item[1])) for item in symbol["heads"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelFileError(
            f"{where} is no complete MXNet symbol: its nodes or heads are missing or damaged "
            f"({type(error).__name__}: {str(error)[:80]})."
        ) from error
    for number, entry in enumerate(entries):
        for before, _ in entry["inputs"]:
            if not 0 <= before < number:
                raise ModelFileError(
                    f"{where}: node {number} '{entry['name']}' reads node {before}, which does not "
                    f"come before it: the graph has a circle or is damaged."
                )
    if not heads or any(not 0 <= number < len(entries) for number, _ in heads):
        raise ModelFileError(f"{where}: its heads {heads[:5]} are no nodes of it.")
    return entries, heads


def _needed(entries: Sequence[Mapping[str, Any]], heads: Sequence[tuple[int, int]]) -> set[int]:
    """Nodes that the heads depend on, labels left out."""
    found, waiting = set(), [number for number, _ in heads]
    while waiting:
        number = waiting.pop()
        if number in found:
            continue
        found.add(number)
        inputs = entries[number]["inputs"]
        if entries[number]["op"] in _WITH_LABEL and len(inputs) > 1:
            inputs = inputs[:-1]
        waiting += [before for before, _ in inputs]
    return found


@dataclass(eq=False)
class _Run:
    """The state between nodes."""

    graph: Graph
    params: Mapping[str, Array]
    given: Mapping[str, Shape]
    entries: Sequence[Mapping[str, Any]]
    results: dict[int, list[str]] = field(default_factory=dict)
    needed: set[int] = field(default_factory=set)

    def add(self, number: int, entry: Mapping[str, Any]) -> None:
        """Convert a node."""
        op, name = entry["op"], entry["name"]
        with self.graph.converting(f"node '{name}' (number {number}, operator {op})"):
            if op == "null":
                self._variable(number, entry)
            else:
                self._operator(number, entry)

    def _operator(self, number: int, entry: Mapping[str, Any]) -> None:
        op, name = entry["op"], entry["name"]
        handler = OPERATORS.get(op)
        if handler is None:
            known = ", ".join(sorted(OPERATORS))
            self.graph.fail(f"this operator is not supported. Supported: {known}.")
        inputs = []
        for before, index in entry["inputs"]:
            if before not in self.needed:
                continue
            made = self.results[before]
            if not 0 <= index < len(made):
                self.graph.fail(
                    f"it reads output {index} of '{self.entries[before]['name']}', which is for "
                    f"training only."
                )
            inputs.append(made[index])
        if not inputs:
            self.graph.fail("it reads nothing: the symbol is damaged.")
        attributes = Attributes(self.graph, entry["attrs"])
        self.results[number] = handler(self.graph, Node(name, op, inputs, attributes))

    def _variable(self, number: int, entry: Mapping[str, Any]) -> None:
        name = entry["name"]
        if name in self.params:
            value = self.params[name]
            self.results[number] = [self.graph.weight(value, name, value.dtype)]
            return
        users = [e for e in self.entries if any(before == number for before, _ in e["inputs"])]
        looks_like_weight = name.endswith(
            ("_weight", "_bias", "_gamma", "_beta", "_moving_mean", "_moving_var", "_running_mean")
        )
        if users and looks_like_weight:
            self.graph.fail(
                "the file of parameters has no value for it: the two files do not belong "
                "together, or one of them is cut off."
            )
        declared = Attributes(self.graph, entry["attrs"]).integers("__shape__")
        shape = input_shape(name, declared, self.given, batch_of_one=True)
        self.results[number] = [self.graph.input(name, shape)]
