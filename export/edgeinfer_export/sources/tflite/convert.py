"""A TFLite graph becomes an ONNX graph, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.errors import UsageError, suggest
from edgeinfer_export.sources.tflite import schema
from edgeinfer_export.sources.tflite.elementwise import activated
from edgeinfer_export.sources.tflite.graph import IR_VERSION, OPSET, Graph, Unsupported
from edgeinfer_export.sources.tflite.model import Operator, Tensor, TFLiteModel
from edgeinfer_export.sources.tflite.operators import ACTIVATION_SLOTS, OPERATORS
from edgeinfer_export.sources.tflite.quantization import rounded

if TYPE_CHECKING:
    import onnx

_MAX_LISTED = 6
_LOWEST = {"int8": -128, "uint8": 0}


@dataclass(frozen=True, eq=False)
class Converted:
    """An ONNX model and how its ends relate to the source's.

    Attributes:
        model: the ONNX model.
        inputs, outputs: ONNX names, in the source's order.
        rounded: whether the source rounds on its way, so that no two implementations agree to
            the last digit.
        notes: what was changed on the way, for people.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rounded: bool
    notes: tuple[str, ...]


def convert(source: TFLiteModel, shapes: Mapping[str, tuple[int | str, ...]]) -> Converted:
    """Convert a model.

    Args:
        shapes: input name to shape, for what the file leaves open.

    Raises:
        Unsupported: if an operator, or a form of one, is not converted: named, with its place.
        UsageError: if a shape is for an input that is not there, or does not fit.
    """
    import onnx

    _check_operators(source)
    graph = Graph(source)
    inputs = _inputs(graph, source, shapes)
    for operator in source.operators:
        graph.operator = operator
        try:
            _convert(graph, operator)
        except (IndexError, ValueError, TypeError, KeyError) as error:
            raise graph.unsupported(f"it is not built as expected ({error})") from error
    graph.operator = None
    outputs = _outputs(graph, source)
    made = onnx.helper.make_graph(
        graph.nodes,
        "tflite",
        inputs,
        outputs,
        [onnx.numpy_helper.from_array(value, name) for name, value in graph.initializers.items()],
    )
    model = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    return Converted(
        model,
        tuple(value.name for value in inputs),
        tuple(value.name for value in outputs),
        graph.rounds or any(node.op_type == "QuantizeLinear" for node in graph.nodes),
        tuple(graph.notes),
    )


def _check_operators(source: TFLiteModel) -> None:
    """Name everything that is missing at once, before long work."""
    missing: dict[str, str] = {}
    for operator in source.operators:
        if operator.name not in OPERATORS:
            missing.setdefault(operator.name, operator.place)
    if not missing:
        return
    listed = [f"{_title(name)} ({place})" for name, place in missing.items()]
    more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    flex = (
        " Operators of TensorFlow itself (Flex) run only inside TensorFlow: export from the "
        "SavedModel that the file was made from."
        if any(name.startswith("CUSTOM:Flex") for name in missing)
        else ""
    )
    raise Unsupported(
        f"operators that are not supported: {', '.join(listed[:_MAX_LISTED])}{more}.{flex} "
        f"Supported are: {', '.join(sorted(OPERATORS))}"
    )


def _title(name: str) -> str:
    kind, _, custom = name.partition(":")
    return f"custom operator '{custom}'" if kind == "CUSTOM" else name


def _inputs(
    graph: Graph, source: TFLiteModel, shapes: Mapping[str, tuple[int | str, ...]]
) -> list[onnx.ValueInfoProto]:
    import onnx

    names = [source.tensors[index].name for index in source.inputs]
    for name in shapes:
        if name not in names:
            raise UsageError(f"The model has no input '{name}'. {suggest(name, names)}")
    made = []
    for index in source.inputs:
        tensor = source.tensors[index]
        name = graph.free(tensor.name)
        shape = _opened(tensor, shapes.get(tensor.name))
        made.append(onnx.helper.make_tensor_value_info(name, _type(graph, tensor), shape))
        graph.set(index, rounded(graph, index, name))
    return made


def _opened(tensor: Tensor, given: tuple[int | str, ...] | None) -> list[int | str]:
    """An input's shape in the ONNX file: the file's, with names or given sizes where it is open."""
    shape: list[int | str] = [
        size if size >= 0 else "batch" if axis == 0 else f"axis{axis}"
        for axis, size in enumerate(tensor.shape)
    ]
    if given is None:
        return shape
    fits = len(given) == len(shape) and all(
        isinstance(size, str) or size == wanted for size, wanted in zip(shape, given, strict=True)
    )
    if not fits:
        raise UsageError(
            f"The input '{tensor.name}' is {list(tensor.shape)} (-1 is open) and cannot become "
            f"{list(given)}: what the file fixes stays."
        )
    return list(given)


def _outputs(graph: Graph, source: TFLiteModel) -> list[onnx.ValueInfoProto]:
    import onnx

    made = []
    for index in source.outputs:
        tensor = source.tensors[index]
        name = graph.emit("Identity", [graph.value(index)], tensor.name)
        shape = [
            size if size >= 0 else "batch" if axis == 0 else None
            for axis, size in enumerate(tensor.shape)
        ]
        made.append(onnx.helper.make_tensor_value_info(name, _type(graph, tensor), shape))
    _name_outputs(graph, [value.name for value in made])
    return made


def _name_outputs(graph: Graph, names: list[str]) -> None:
    """Let the node that computes an output carry its name, where nobody else reads the value."""
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    makers = {name: node for node in graph.nodes for name in node.output}
    for name in names:
        last = makers[name]
        before = makers.get(last.input[0])
        if before is None or readers[last.input[0]] > 1 or len(before.output) > 1:
            continue
        before.output[0] = name
        graph.nodes.remove(last)


def _type(graph: Graph, tensor: Tensor) -> int:
    """The ONNX type of an end of the graph: real numbers where the source's stand for them."""
    import onnx

    if tensor.quantized:
        found = tensor.quantization
        assert found is not None
        graph.note(
            f"'{tensor.name}' is {tensor.dtype} in the source and float32 here: the real value "
            f"(q - {found.zero_point[0]}) * {found.scale[0]:.6g}"
        )
        return int(onnx.TensorProto.FLOAT)
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)))
    except (TypeError, KeyError, ValueError) as error:
        raise Unsupported(f"'{tensor.name}' holds {tensor.dtype}, no numbers") from error


def _convert(graph: Graph, operator: Operator) -> None:
    if any(graph.tensor(index).sparse for index in operator.inputs if index >= 0):
        raise graph.unsupported("its weights are stored sparse")
    made = OPERATORS[operator.name](graph, operator)
    slot = ACTIVATION_SLOTS.get(operator.name)
    for number, (index, (name, layout)) in enumerate(zip(operator.outputs, made, strict=False)):
        if number == 0 and slot is not None and operator.options is not None:
            wanted = operator.options.number(slot, "b")
            if not _clamps_itself(graph.tensor(index), wanted):
                name = activated(graph, name, wanted)
        graph.set(index, rounded(graph, index, name), layout)


def _clamps_itself(tensor: Tensor, activation: int) -> bool:
    """Whether quantizing the output cuts off what the activation would cut off."""
    if not tensor.quantized or tensor.dtype not in _LOWEST or tensor.quantization is None:
        return False
    low = _LOWEST[tensor.dtype]
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    least, most = (low - zero) * scale, (low + 255 - zero) * scale
    if activation == schema.RELU:
        return least >= 0
    return activation == schema.RELU6 and least >= 0 and most <= 6
