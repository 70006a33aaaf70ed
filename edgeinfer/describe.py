"""What a model file is, and what would run it (schema ``edgeinfer.model/1``)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgeinfer.artifact import nodes_of, read_graph, tensors_of
from edgeinfer.errors import InputError, SpecError
from edgeinfer.model import LoadOptions, open_session

# ONNX's element types (onnx.proto, TensorProto.DataType) that decide a model's precision.
_FLOAT16, _BFLOAT16 = 10, 16
_INTEGER_OPS = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger")


def describe_model(path: Path, options: LoadOptions) -> dict[str, Any]:
    """Describe a model file.

    A model whose meaning is unknown is described all the same, with a warning that says why.

    Raises:
        ModelFileError: if it is missing, damaged, hostile or no model.
        UsageError: for unknown names in the options.
    """
    warnings: list[str] = []
    spec = None
    session = open_session(path, options)
    engine = session.selected.engine
    try:
        spec = session.resolve(options)
        warnings += [f"guessed {note}" for note in spec.notes]
    except (SpecError, InputError) as error:
        warnings.append(str(error))
    finally:
        engine.close()
    graph = read_graph(path)
    ops = Counter(node.op_type for node in nodes_of(graph.graph))
    opsets = {item.domain: item.version for item in graph.opset_import}
    precision = spec.precision if spec is not None and spec.precision else _precision(graph, ops)
    if precision == "int8" and "DynamicQuantizeLinear" in ops:
        warnings.append(
            "this INT8 model quantizes its activations anew for every frame, which is often "
            "slower than FP32: export it again with --precision int8 --calibration DIR"
        )
    return {
        "schema": "edgeinfer.model/1",
        "path": str(path),
        "sha256": session.file.sha256,
        "opset": opsets.get("", opsets.get("ai.onnx")),
        "opsets": opsets,
        "ir_version": graph.ir_version,
        "producer": f"{graph.producer_name} {graph.producer_version}".strip(),
        "inputs": [item.to_dict() for item in engine.inputs],
        "outputs": [item.to_dict() for item in engine.outputs],
        "nodes": sum(ops.values()),
        "op_types": dict(sorted(ops.items())),
        "precision": precision,
        "spec": None if spec is None else spec.to_dict(),
        "spec_source": None if spec is None else spec.origin,
        "served": session.selected.served.to_dict(),
        "warnings": warnings,
    }


def _precision(graph: Any, ops: Counter[str]) -> str:
    if any(op in ops for op in _INTEGER_OPS):
        return "int8"
    sizes: Counter[int] = Counter()
    for tensor in tensors_of(graph.graph):
        count = 1
        for size in tensor.dims:
            count *= size
        sizes[tensor.data_type] += count
    halves = sizes[_FLOAT16] + sizes[_BFLOAT16]
    return "fp16" if halves > sizes[1] else "fp32"
