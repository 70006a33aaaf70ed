"""Which provider got which nodes, and whether that is what was asked for."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer import scratch
from edgeinfer.errors import ProviderError
from edgeinfer.results import Placement
from edgeinfer.spec import TensorSpec

# Nodes whose place decides a model's speed. Everything else on the CPU is shape arithmetic. What a
# provider compiled (EPContext) is anything.
_COSTLY = (
    "EPContext",
    "Conv",
    "MatMul",
    "Gemm",
    "LSTM",
    "GRU",
    "RNN",
    "Attention",
)
# What computes shapes; providers leave these to the CPU on purpose.
_SHAPE_OPS = (
    "Shape",
    "Size",
    "Gather",
    "Unsqueeze",
    "Squeeze",
    "Concat",
    "Slice",
    "Cast",
    "Range",
    "Reshape",
    "Constant",
    "ConstantOfShape",
)


def has_record(ort: Any) -> bool:
    """Whether sessions know where their nodes went (ONNX Runtime 1.24.1 and later)."""
    return hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")


def ask(ort: Any, settings: Any) -> None:
    """Make a session record where its nodes go; must come before it is opened."""
    if has_record(ort):
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    else:
        settings.enable_profiling = True
        # ONNX Runtime adds the second to the name, and no more.
        name = f"edgeinfer-placement-{os.getpid()}-{os.urandom(4).hex()}"
        settings.profile_file_prefix = os.path.join(scratch.place(), name)


def count(
    session: Any,
    inputs: tuple[TensorSpec, ...],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
) -> Placement:
    """Count the nodes of each provider, by the session's own record or by the profile of one run.

    The record counts the graph as it was handed to the providers (stage ``partition``); the
    profile counts what was executed after fusion (stage ``optimized``).

    Args:
        names: ONNX Runtime's name of a provider to ours.
    """
    if hasattr(session, "get_provider_graph_assignment_info"):
        counts: dict[str, Counter[str]] = {}
        for part in session.get_provider_graph_assignment_info():
            ours = names.get(part.ep_name, part.ep_name)
            counts.setdefault(ours, Counter()).update(n.op_type for n in part.get_nodes())
        return Placement("partition", {name: dict(ops) for name, ops in counts.items()})
    return _count_by_profile(session, inputs, shapes, names)


def _count_by_profile(
    session: Any,
    inputs: tuple[TensorSpec, ...],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
) -> Placement:
    feed = {}
    for spec in inputs:
        shape = shapes.get(spec.name, spec.shape)
        feed[spec.name] = np.zeros(
            [size if isinstance(size, int) else 1 for size in shape], spec.dtype
        )
    # A model that cannot run on zeros has no profile; its placement is then the session's own.
    with contextlib.suppress(Exception):
        session.run(None, feed)
    counts: dict[str, Counter[str]] = {}
    for event in discard_profile(session):
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in arguments:
            ours = names.get(arguments["provider"], arguments["provider"])
            counts.setdefault(ours, Counter())[arguments.get("op_name", "?")] += 1
    if not counts:
        first = session.get_providers()[0]
        counts[names.get(first, first)] = Counter()
    return Placement("optimized", {name: dict(ops) for name, ops in counts.items()})


def clear(session: Any, settings: Any) -> None:
    """Remove what recording by a profile leaves behind.

    Args:
        session: None where none was opened: the file of its profile is there all the same.
    """
    if not settings.enable_profiling:
        return
    if session is not None:
        discard_profile(session)
    prefix = Path(settings.profile_file_prefix)
    for path in prefix.parent.glob(f"{prefix.name}*"):
        path.unlink(missing_ok=True)


def discard_profile(session: Any) -> list[dict[str, Any]]:
    """End a session's profiling, read its file and remove it."""
    with contextlib.suppress(Exception):
        path = Path(session.end_profiling())
        try:
            events = json.loads(path.read_bytes())
        finally:
            path.unlink(missing_ok=True)
        return [event for event in events if isinstance(event, dict)]
    return []


def is_costly(op_type: str) -> bool:
    """Whether a node of this type decides the model's speed (quantized and fused kin included)."""
    return any(name in op_type for name in _COSTLY)


def check_contract(provider: str, where: Placement, max_cpu_nodes: int | None) -> None:
    """Refuse a placement in which a costly node left the provider that was named.

    Raises:
        ProviderError: naming the nodes and what to do.
    """
    on_cpu = {
        op: count_ for op, count_ in where.providers.get("cpu", {}).items() if op not in _SHAPE_OPS
    }
    total = sum(on_cpu.values())
    if max_cpu_nodes is not None and total > max_cpu_nodes:
        counted = ", ".join(f"{count_} {op}" for op, count_ in sorted(on_cpu.items()))
        raise ProviderError(
            f"{total} nodes run on the CPU ({counted}), more than --max-cpu-nodes {max_cpu_nodes}: "
            f"allow more, or name a provider that takes them ('edgeinfer providers' lists them)."
        )
    if provider == "cpu":
        return
    strays = {
        f"{count_} {op}"
        for name, ops in where.providers.items()
        if name != provider
        for op, count_ in ops.items()
        if is_costly(op)
    }
    if strays or not where.providers.get(provider):
        raise ProviderError(
            f"The provider '{provider}' does not run this model whole: "
            f"{', '.join(sorted(strays)) or 'every node'} would run on the CPU. Give --provider "
            f"cpu or auto, or export the model with operators that '{provider}' takes."
        )
