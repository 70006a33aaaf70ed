"""Find out what a source model means, before any session of it exists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeinfer.resolve import Opened, Overrides, check_state, resolve
from edgeinfer.spec import METADATA_KEY, ModelSpec, TensorSpec
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.sources import SourceModel

if TYPE_CHECKING:
    import onnx


def spec_of(source: SourceModel, options: ExportOptions) -> ModelSpec:
    """What the source expects and means, by the rules that the runtime uses.

    A spec in the graph's own metadata goes before what the reader says; options go before both.

    Raises:
        SpecError: if it is unknown, ambiguous or contradicts the graph.
        UsageError: for a task or head that does not exist.
    """
    graph = source.model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = tuple(tensor_spec(value) for value in graph.input if value.name not in weights)
    outputs = tuple(tensor_spec(value) for value in graph.output)
    found = _found(source, options, inputs, outputs)
    check_state(found, inputs, outputs)
    return found


def _found(
    source: SourceModel,
    options: ExportOptions,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> ModelSpec:
    spec, overridden = options.spec, (options.task, options.head, options.labels)
    if isinstance(spec, ModelSpec) and not any(overridden):
        return spec
    metadata = {entry.key: entry.value for entry in source.model.metadata_props}
    if source.spec is not None:
        metadata.setdefault(METADATA_KEY, json.dumps(source.spec))
    if isinstance(spec, ModelSpec):
        metadata[METADATA_KEY] = json.dumps(spec.to_dict())
        spec = None
    opened = Opened(path=source.path, inputs=inputs, outputs=outputs, metadata=metadata)
    task, head, labels = overridden
    return resolve(opened, Overrides(spec=spec, task=task, head=head, labels=labels))


def tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """Name, type and shape of a graph's input or output; unnamed free dimensions become ``?``."""
    import onnx

    kind = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
        for dim in kind.shape.dim
    )
    dtype = "unknown"
    if kind.elem_type != onnx.TensorProto.UNDEFINED:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return TensorSpec(value.name, dtype, shape)
