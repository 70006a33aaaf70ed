"""What each operator of a model takes, on which provider, and how near the box's peak that is."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from edgeinfer.errors import UsageError
from edgeinfer.frames import Frame
from edgeinfer.model import LoadOptions
from edgeinfer.model.model import open_model
from edgeinfer.providers.placement import is_costly
from edgeinfer.providers.profiling import NodeTime, Profile, TensorShape, recorded
from edgeinfer_bench.flops import flops, kernels_of, precision, unpadded
from edgeinfer_bench.peak import peak_gflops

DEFAULT_RUNS = 30
# The first runs allocate, and pick convolution algorithms on a GPU.
_WARMUP = 5
_TOP = 20
# Operators have plain names; what a provider fused it names after itself and numbers.
_FUSED = re.compile(r"[^A-Za-z0-9]")
# A kernel is only queued on the GPU when ONNX Runtime stops its clock, unless launches wait for it.
# https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars
_WAIT_FOR_KERNELS = "CUDA_LAUNCH_BLOCKING"

Key = tuple[str, int]


@dataclass(frozen=True)
class _Node:
    """One node over all measured runs.

    Attributes:
        count: executions per run. mean_ns: per run.
        flop: per run, of `precision`; None where it is not counted.
        shape: of its first output.
    """

    name: str
    op_type: str
    provider: str
    count: float
    mean_ns: float
    shape: tuple[int, ...]
    flop: float | None
    precision: str


def profile_operators(
    path: Path, options: LoadOptions, frames: Sequence[Frame], *, runs: int = DEFAULT_RUNS
) -> dict[str, Any]:
    """Open a model as a benchmark does, run it under ONNX Runtime's profiler, and say what took how
    long.

    Profiling costs time: clocks are read and shapes noted around every node, which shows in models
    of many small ones (`frame_ns` against the latency without). Shares and ratios are what to read
    here; latencies come from runs without it. A node's time holds whatever ONNX Runtime does inside
    of it, waiting for its threads included; it is measured in whole microseconds.

    Call it in the main thread of a fresh process: on a GPU every kernel is waited for, by an
    environment variable that CUDA reads once.

    Args:
        options: as of the benchmark; one lane of them runs.
        frames: fed in turn, from the first again when used up.
        runs: how many are measured.

    Returns:
        ``runs``; ``frame_ns`` (mean of a session's run) and ``kernel_ns`` (of it inside nodes);
        ``peak_gflops`` by precision (see `peak.peak_gflops`); ``gflop`` a frame, None where a node
        that matters cannot be counted; ``gflops``, that over `kernel_ns`, and ``share_of_peak``,
        the time that it would take at peak over `kernel_ns`; ``by_type``, all types of operators,
        and ``top``, the costliest nodes, both by time; ``reason`` why there is no table, and then
        nothing else, or else None.

    Raises:
        EdgeInferError: if the model cannot be opened or run.
        UsageError: without frames, or for fewer runs than one.
    """
    if runs < 1 or not frames:
        raise UsageError(f"Operators take 1 run and 1 frame or more, not {runs} and {len(frames)}.")
    with _waiting_for_kernels():
        profile, served = _record(path, options, frames, _WARMUP + runs)
        if profile is None or not profile.nodes:
            return {"reason": f"{served} tells nothing about single operators"}
        nodes = _nodes(profile, _shapes(profile, path, options, frames))
        peaks = _peaks(profile, {node.precision for node in nodes if node.flop is not None})
    measured = _measured(profile)
    return {
        "runs": len(measured),
        "frame_ns": round(sum(measured) / len(measured)),
        **_table(nodes, peaks),
        "reason": None,
    }


@contextlib.contextmanager
def _waiting_for_kernels() -> Iterator[None]:
    before = os.environ.get(_WAIT_FOR_KERNELS)
    os.environ[_WAIT_FOR_KERNELS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WAIT_FOR_KERNELS]
        else:
            os.environ[_WAIT_FOR_KERNELS] = before


def _record(
    path: Path, options: LoadOptions, frames: Sequence[Frame], count: int, packed: bool = True
) -> tuple[Profile | None, str]:
    """Run so many frames; the profile, and what served them."""
    with recorded(packed) as recording, open_model(path, options) as model:
        for frame in islice(cycle(frames), count):
            model(frame)
        return recording.profile(), model.served.provider_impl


@dataclass(frozen=True)
class _Shapes:
    """What the nodes do not tell themselves.

    Attributes:
        inputs: of each node, its constants among them.
        kernels: see `flops.kernels_of`.
    """

    inputs: Mapping[Key, tuple[TensorShape, ...]]
    kernels: Mapping[str, tuple[int, ...]]

    def complete(self, node: NodeTime) -> NodeTime | None:
        """The node with all its inputs; None where they cannot be told."""
        inputs = self.inputs.get((node.name, node.index), node.inputs)
        if len(inputs) != len(node.inputs):
            rest = iter(inputs)
            if not all(tensor in rest for tensor in node.inputs):
                return None
            node = replace(node, inputs=inputs)
        return unpadded(node, self.kernels)


def _shapes(profile: Profile, path: Path, options: LoadOptions, frames: Sequence[Frame]) -> _Shapes:
    """Look at one more run, in which no constant is packed."""
    if not any(is_costly(node.op_type) and node.provider == "cpu" for node in profile.nodes):
        return _Shapes({}, {})
    whole, _ = _record(path, options, frames[:1], 1, packed=False)
    inputs = {} if whole is None else {(node.name, node.index): node.inputs for node in whole.nodes}
    return _Shapes(inputs, kernels_of(profile.opening.path))


def _measured(profile: Profile) -> tuple[int, ...]:
    """The runs without those that warmed up."""
    return profile.runs_ns[min(_WARMUP, len(profile.runs_ns) - 1) :]


def _nodes(profile: Profile, shapes: _Shapes) -> list[_Node]:
    """Every node of the measured runs."""
    runs = len(_measured(profile))
    executions: dict[Key, list[NodeTime]] = defaultdict(list)
    for node in profile.nodes:
        if node.run >= len(profile.runs_ns) - runs:
            executions[node.name, node.index].append(node)
    return [_joined(same, shapes, runs) for same in executions.values()]


def _joined(same: Sequence[NodeTime], shapes: _Shapes, runs: int) -> _Node:
    """One node of all its executions, which differ in shape where the model's inputs do."""
    whole = [shapes.complete(node) for node in same]
    counts = [None if node is None else flops(node) for node in whole]
    told = [count for count in counts if count is not None]
    last = whole[-1] or same[-1]
    return _Node(
        name=last.name,
        op_type=last.op_type,
        provider=last.provider,
        count=len(same) / runs,
        mean_ns=sum(node.duration_ns for node in same) / runs,
        shape=last.outputs[0].shape if last.outputs else (),
        flop=sum(told) / runs if len(told) == len(same) else None,
        precision=precision(last),
    )


def _peaks(profile: Profile, wanted: Iterable[str]) -> dict[str, float]:
    """The box's peak by precision, with what the model was opened with."""
    opening = profile.opening
    device = "" if opening.device is None else f":{opening.device}"
    same = LoadOptions(
        provider=f"{profile.provider}{device}",
        provider_options=opening.options,
        threads=opening.threads,
        spinning=opening.spinning,
    )
    measured = {kind: peak_gflops(same, kind) for kind in sorted({"fp32", *wanted})}
    return {kind: rate for kind, rate in measured.items() if rate is not None}


def _table(nodes: Sequence[_Node], peaks: Mapping[str, float]) -> dict[str, Any]:
    kernel_ns = sum(node.mean_ns for node in nodes)
    types: dict[tuple[str, str], list[_Node]] = defaultdict(list)
    for node in nodes:
        types[node.op_type, node.provider].append(node)
    by_type = [_type_row(same, kernel_ns) for same in types.values()]
    costliest = sorted(nodes, key=lambda node: node.mean_ns, reverse=True)[:_TOP]
    whole = not any(
        node.flop is None and (is_costly(node.op_type) or _FUSED.search(node.op_type))
        for node in nodes
    )
    counted = [node for node in nodes if node.flop is not None]
    peaks = _raised(peaks, counted, kernel_ns)
    flop = sum(node.flop or 0 for node in counted) if whole and counted else None
    return {
        "kernel_ns": round(kernel_ns),
        "peak_gflops": dict(peaks),
        "gflop": _giga(flop),
        "gflops": _rate(flop, kernel_ns),
        "share_of_peak": None if flop is None else _share_of_peak(counted, peaks, kernel_ns),
        "by_type": sorted(by_type, key=lambda row: -row["mean_ns"]),
        "top": [
            {
                "name": node.name,
                "op_type": node.op_type,
                "provider": node.provider,
                "mean_ns": round(node.mean_ns),
                "share": _share(node.mean_ns, kernel_ns),
                "shape": list(node.shape),
                "precision": _precision([node]),
                "gflop": _giga(node.flop),
                "gflops": _rate(node.flop, node.mean_ns),
            }
            for node in costliest
        ],
    }


def _raised(
    peaks: Mapping[str, float], counted: Sequence[_Node], kernel_ns: float
) -> dict[str, float]:
    """The peaks, or what an operator of the model reached where that is more: a box can do what it
    did. Operators of less than a hundredth of the time are timed too coarsely for that."""
    raised = dict(peaks)
    for node in counted:
        rate = _rate(node.flop, node.mean_ns)
        if rate is not None and node.precision in raised and node.mean_ns >= kernel_ns / 100:
            raised[node.precision] = max(raised[node.precision], rate)
    return raised


def _type_row(same: Sequence[_Node], kernel_ns: float) -> dict[str, Any]:
    mean_ns = sum(node.mean_ns for node in same)
    told = [node.flop for node in same if node.flop is not None]
    flop = sum(told) if len(told) == len(same) else None
    return {
        "op_type": same[0].op_type,
        "provider": same[0].provider,
        "count": round(sum(node.count for node in same)),
        "mean_ns": round(mean_ns),
        "share": _share(mean_ns, kernel_ns),
        "precision": _precision(same),
        "gflop": _giga(flop),
        "gflops": _rate(flop, mean_ns),
    }


def _precision(nodes: Iterable[_Node]) -> str | None:
    """What all of them compute in, which names their peak; None where that differs."""
    kinds = {None if node.flop is None else node.precision for node in nodes}
    return kinds.pop() if len(kinds) == 1 else None


def _share(part_ns: float, whole_ns: float) -> float:
    return part_ns / whole_ns if whole_ns else 0.0


def _giga(flop: float | None) -> float | None:
    return None if flop is None else flop / 1e9


def _rate(flop: float | None, time_ns: float) -> float | None:
    """Operations a nanosecond are GFLOP/s."""
    return None if flop is None or not time_ns else flop / time_ns


def _share_of_peak(
    counted: Sequence[_Node], peaks: Mapping[str, float], kernel_ns: float
) -> float | None:
    """Time at peak, each node in its own precision, over the time it took."""
    if not kernel_ns or any(node.precision not in peaks for node in counted):
        return None
    at_peak_ns = math.fsum((node.flop or 0) / peaks[node.precision] for node in counted)
    return at_peak_ns / kernel_ns
