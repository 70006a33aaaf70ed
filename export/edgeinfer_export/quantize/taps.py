"""A session that shows what flows inside a graph, some tensors at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer.machine import usable_cpus
from edgeinfer.providers import onnxruntime
from edgeinfer.providers.ort import runtime_message

if TYPE_CHECKING:
    import onnx

# All that is shown for one sample lies in memory at once.
_MOST_BYTES = 512 << 20
_UNKNOWN_BYTES = 4 << 20


class Taps:
    """Runs a graph and gives the tensors that were asked for.

    Where they do not fit into memory together, several sessions share them out, and the graph runs
    once for each.
    """

    def __init__(self, model: onnx.ModelProto, names: Iterable[str]) -> None:
        """Open it.

        Args:
            names: tensors of the graph.

        Raises:
            ModelFileError: if ONNX Runtime refuses it.
        """
        known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
        self.names = tuple(names)
        self._groups = [(_session(model, group), group) for group in _grouped(self.names, known)]

    def run(self, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """The tensors, one after the other; an array is the caller's until the next one.

        Raises:
            ModelFileError: if the model cannot be run on these inputs.
        """
        for session, group in self._groups:
            try:
                values = session.run(list(group), dict(inputs))
            except Exception as error:
                raise ModelFileError(
                    f"The model cannot be run on these inputs: {runtime_message(error)}."
                ) from error
            yield from zip(group, values, strict=True)


def computed_floats(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the float tensors that the graph takes or computes, in its order."""
    import onnx

    fixed = {tensor.name for tensor in model.graph.initializer}
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
    names = [value.name for value in model.graph.input if value.name not in fixed]
    names += [name for node in model.graph.node for name in node.output if name]
    return tuple(name for name in names if kinds.get(name) == onnx.TensorProto.FLOAT)


def _session(model: onnx.ModelProto, names: Sequence[str]) -> Any:
    import onnx

    ort = onnxruntime()
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    taken = {value.name for value in tapped.graph.output}
    for name in names:
        if name not in taken:
            tapped.graph.output.append(onnx.ValueInfoProto(name=name))
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = usable_cpus()
    settings.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(
            tapped.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ModelFileError(
            f"ONNX Runtime cannot show what flows in this graph: {runtime_message(error)}."
        ) from error


def _grouped(
    names: Sequence[str], known: Mapping[str, onnx.ValueInfoProto]
) -> Iterator[tuple[str, ...]]:
    group: list[str] = []
    size = 0
    for name in names:
        taken = _bytes_of(known.get(name))
        if group and size + taken > _MOST_BYTES:
            yield tuple(group)
            group, size = [], 0
        group.append(name)
        size += taken
    if group:
        yield tuple(group)


def _bytes_of(value: onnx.ValueInfoProto | None) -> int:
    if value is None or not value.type.tensor_type.HasField("shape"):
        return _UNKNOWN_BYTES
    dims = value.type.tensor_type.shape.dim
    return 4 * math.prod([int(dim.dim_value) or 1 for dim in dims])
