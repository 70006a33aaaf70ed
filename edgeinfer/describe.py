"""What a model file is, and what would run it (schema ``edgeinfer.model/1``)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgeinfer.artifact import nodes_of, precision_of, read_graph
from edgeinfer.errors import InputError, SpecError
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, open_session, why_unfit
from edgeinfer.plan import find_variants, variant_of


def describe_model(path: Path, options: LoadOptions) -> dict[str, Any]:
    """Describe a model file.

    A model whose meaning is unknown is described all the same, with a warning that says why. Where
    a stored plan makes a variant run, `served` and `spec` are of that, all else of the file itself.

    Raises:
        ModelFileError: if it is missing, damaged, hostile or no model.
        UsageError: for unknown names in the options.
    """
    warnings: list[str] = []
    spec = None
    session = open_session(path, options)
    engine = session.selected.engine
    try:
        session.check_vetted()
        spec = session.resolve(options)
        warnings += [f"guessed {note}" for note in spec.notes]
        unfit = why_unfit(spec.target, session.selected.served.provider, this_machine())
        if unfit is not None:
            warnings.append(f"quantized for {spec.target}, which this box does not fit: {unfit}")
    except (SpecError, InputError) as error:
        warnings.append(str(error))
    finally:
        session.close()
    variants = find_variants(session.file, options.variants)
    served = session.selected.served
    graph = read_graph(path)
    ops = Counter(node.op_type for node in nodes_of(graph.graph))
    opsets = {item.domain: item.version for item in graph.opset_import}
    precision = variant_of(session.file).precision or precision_of(graph)
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
        "inputs": [item.to_dict() for item in session.graph_inputs],
        "outputs": [item.to_dict() for item in engine.outputs],
        "nodes": sum(ops.values()),
        "op_types": dict(sorted(ops.items())),
        "precision": precision,
        "spec": None if spec is None else spec.to_dict(),
        "spec_source": None if spec is None else spec.origin,
        "served": {**served.to_dict(), "threads": served.threads},
        "plan": {**session.plan.to_dict(), "notes": list(session.notes)},
        "running": {"path": str(session.running.path), "sha256": session.running.sha256},
        "variants": [item.to_dict() for item in variants],
        "warnings": warnings,
    }
