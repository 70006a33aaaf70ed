"""What a model file is, and what would run it (schema ``edgeinfer.model/1``)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.artifact import nodes_of, precision_of, read_graph
from edgeinfer.blind import coarse_scores, dead_channels
from edgeinfer.errors import EdgeInferError, InputError, SpecError
from edgeinfer.frames import Array
from edgeinfer.golden import golden_path
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, open_model, open_session, why_unfit
from edgeinfer.plan import find_variants, variant_of
from edgeinfer.spec import PROVENANCE_KEY

# So many different pictures tell a channel that is dead from one that had nothing to say.
_LOOKS = 3


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
    if precision == "int8":
        warnings += coarse_scores(graph) or _dead(path, options)
    vectors = golden_path(path)
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
        "provenance": _provenance(engine.metadata.get(PROVENANCE_KEY)),
        "golden": str(vectors) if vectors.is_file() else None,
        "served": {**served.to_dict(), "threads": served.threads},
        "plan": {**session.plan.to_dict(), "notes": list(session.notes)},
        "running": {"path": str(session.running.path), "sha256": session.running.sha256},
        "variants": [item.to_dict() for item in variants],
        "warnings": warnings,
    }


def _provenance(text: str | None) -> dict[str, Any] | None:
    """What export wrote into the file; None where it did not, or somebody else spoilt it."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _dead(path: Path, options: LoadOptions) -> tuple[str, ...]:
    """Let a quantized model look at a few pictures: are some channels zero on all of them?"""
    try:
        with open_model(path, options) as model:
            if model.size_wh is None:
                return ()
            return dead_channels([model.raw(picture) for picture in _looks(*model.size_wh)])
    except EdgeInferError:
        return ()  # what keeps it from running was told above


def _looks(width: int, height: int) -> Iterator[Array]:
    """`(H, W, 3)` uint8 BGR: coarse blocks of colour, as objects are."""
    for seed in range(_LOOKS):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        blocks = np.kron(coarse, np.ones((-(-height // 8), -(-width // 8), 1), np.uint8))
        yield np.ascontiguousarray(blocks[:height, :width])
