"""What edgeinfer adds to ONNX Runtime per frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import sleep

from edgeinfer.measure import difference, interleave
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.sources import open_source
from edgeinfer.timing import format_ns, now_ns
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.peers.plain_onnxruntime import PlainSession

_FRAME = "synthetic:1280x720"
_THREADS = (1, 2)
# Turns of this many frames: long enough that each runs with its own caches, as it would alone.
_BLOCK = 10
# Before each turn: idle threads of the other's session spin for 40 ms, on the same processors.
_SETTLE_S = 0.1


def own_cost(context: Context) -> list[Goal]:
    """Frame latency minus `InferenceSession.run`, block medians in turns, by model and threads."""
    goals = []
    for threads in _THREADS:
        goals.append(
            _cost(
                context,
                "640 detector",
                context.detector(),
                threads,
                rounds=400,
                bound_ms=1.2,
                share=0.05,
            )
        )
        goals.append(
            _cost(
                context,
                "224 classifier",
                context.classifier(),
                threads,
                rounds=1000,
                bound_ms=0.3,
                share=0.0,
            )
        )
    return goals


def _cost(
    context: Context,
    what: str,
    path: Path,
    threads: int,
    *,
    rounds: int,
    bound_ms: float,
    share: float,
) -> Goal:
    context.say(f"own cost: {what}, {threads} thread(s)")
    plain = PlainSession(path, threads)
    plain.run()  # Its memory is there now, and stays as ONNX Runtime alone would have it.
    # One picture again and again: in a pipeline the decoder has just written it.
    picture = next(open_source(_FRAME)).data
    stages: dict[str, list[int]] = {"preprocess": [], "inference": [], "postprocess": []}
    latencies: list[int] = []
    alone: list[int] = []
    count = context.rounds(rounds // _BLOCK, 5)
    with open_model(
        path, LoadOptions("cpu", threads=threads, preprocess="host", use_plan=False)
    ) as model:

        def frames() -> None:
            sleep(_SETTLE_S)
            taken = []
            for _ in range(_BLOCK):
                result = model(picture)
                taken.append(result.latency_ns)
                for stage, kept in stages.items():
                    kept.append(result.stages_ns[stage])
            latencies.append(round(median(taken)))

        def raw() -> None:
            sleep(_SETTLE_S)
            taken = []
            for _ in range(_BLOCK):
                began = now_ns()
                plain.run()
                taken.append(now_ns() - began)
            alone.append(round(median(taken)))

        interleave({"edgeinfer": frames, "plain": raw}, rounds=count, warmup=2)
    name = f"own cost per frame, {what}, {threads} thread(s)"
    return _goal(name, latencies[-count:], alone[-count:], stages, bound_ms, share)


def _goal(
    name: str,
    latencies: list[int],
    alone: list[int],
    stages: Mapping[str, list[int]],
    bound_ms: float,
    share: float,
) -> Goal:
    added = difference(alone, latencies)
    base = median(alone)
    detail = {
        "added per frame": f"{format_ns(added.ns)}, 95% interval {format_ns(added.low)} to "
        f"{format_ns(added.high)}",
        "frame latency": format_ns(median(latencies)),
        "InferenceSession.run": format_ns(base),
        **{stage: format_ns(median(kept)) for stage, kept in stages.items()},
        "rounds": f"{len(alone)} of {_BLOCK} frames each",
    }
    return Goal(
        name,
        added.ns / 1e6,
        max(bound_ms, share * base / 1e6),
        "ms",
        detail=detail,
        data={
            "latency_ns": latencies,
            "plain_ns": alone,
        },
    )
