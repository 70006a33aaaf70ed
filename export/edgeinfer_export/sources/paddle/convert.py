"""From a Paddle program to an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.base import Shape
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.shapes import input_shape, refuse_unknown_inputs
from edgeinfer_export.sources.paddle import detect, neural, pointwise, shapes
from edgeinfer_export.sources.paddle.program import Operator, Program
from edgeinfer_export.sources.paddle.step import Step

if TYPE_CHECKING:
    import onnx

OPERATORS: Mapping[str, Callable[[Step], None]] = MappingProxyType(
    {**neural.OPERATORS, **pointwise.OPERATORS, **shapes.OPERATORS, **detect.OPERATORS}
)


@dataclass(frozen=True, eq=False)
class Converted:
    """A graph, and how to find its outputs in the source.

    Attributes:
        model: the graph.
        comparable: outputs that Paddle gives in the same layout, to their numbers there.
        notes: for people.
    """

    model: onnx.ModelProto
    comparable: Mapping[str, int]
    notes: tuple[str, ...]


def convert(program: Program, params: Mapping[str, Array], given: Mapping[str, Shape]) -> Converted:
    """Convert a program.

    Args:
        given: shapes that the user gives to inputs.

    Raises:
        ModelFileError: for an operator that is not supported, or parameters that do not fit.
        UsageError: if the shape of an input is needed.
    """
    graph = Graph(program.name.partition(".")[0].strip("_"), program.name)
    tensors: dict[str, str] = {}
    fetched: list[str] = []
    needed = _needed(program.operators)
    for operator in program.operators:
        with graph.converting(operator.place):
            if operator.kind == "feed":
                name = _only(graph, operator.outputs, "Out")
                tensors[name] = _feed(graph, program, name, given)
            elif operator.kind == "fetch":
                fetched.append(_only(graph, operator.inputs, "X"))
            elif operator.number in needed:
                _add(graph, operator, tensors, params)
    refuse_unknown_inputs(given, graph.inputs)
    outputs, comparable, notes = {}, {}, []
    for number, name in enumerate(fetched):
        maker = needed.get(name)
        if name in tensors and maker not in detect.OWN_LAYOUT:
            comparable[name] = number
        elif name in tensors:
            notes.append(f"'{name}' is [1, N, 6]: corners in pixels of the input, score, class.")
        elif maker in detect.OWN_LAYOUT:
            notes.append(f"'{name}', a count of detections, is left out.")
            continue
        else:
            raise ModelFileError(f"{program.name} fetches '{name}', which no operator makes.")
        outputs[name] = tensors[name]
    if len(comparable) < len(fetched):
        # Paddle gives all outputs or none.
        comparable = {}
    return Converted(graph.model(outputs), comparable, tuple(notes))


def _needed(operators: Sequence[Operator]) -> dict[int | str, str]:
    """Operators that what is fetched depends on; and, by name, what makes each variable."""
    needed: dict[int | str, str] = {}
    wanted: set[str] = set()
    for operator in reversed(operators):
        made = {name for names in operator.outputs.values() for name in names}
        if operator.kind == "fetch" or made & wanted:
            needed[operator.number] = operator.kind
            needed.update((name, operator.kind) for name in made if name not in needed)
            wanted.update(name for names in operator.inputs.values() for name in names)
    return needed


def _feed(graph: Graph, program: Program, name: str, given: Mapping[str, Shape]) -> str:
    variable = program.variables.get(name)
    if variable is None or variable.dtype is None:
        graph.fail(f"the input '{name}' has no type that is supported.")
    shape = list(variable.shape)
    if len(shape) == 2 and variable.dtype in ("<i4", "<f4") and "im" in name and shape[1] == 2:
        shape = [1, 2]
    return graph.input(name, input_shape(name, shape, given, batch_of_one=True), variable.dtype)


def _only(graph: Graph, names: Mapping[str, Sequence[str]], what: str) -> str:
    found = names.get(what) or ()
    if len(found) != 1:
        graph.fail(f"it has {len(found)} variables as {what}, and needs one.")
    return found[0]


def _add(
    graph: Graph, operator: Operator, tensors: dict[str, str], params: Mapping[str, Array]
) -> None:
    handler = OPERATORS.get(operator.kind)
    if handler is None:
        known = ", ".join(sorted(OPERATORS))
        graph.fail(f"this operator is not supported. Supported: {known}.")
    for names in operator.inputs.values():
        for name in names:
            if name not in tensors and name in params:
                value = params[name]
                tensors[name] = graph.weight(value, name, value.dtype)
            elif name not in tensors:
                graph.fail(
                    f"it reads '{name}', which no operator before it makes and which is no "
                    f"parameter: the program is damaged or has a circle."
                )
    handler(Step(graph, operator, tensors))
