"""What edgeinfer adds to ONNX Runtime per frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import sleep
from typing import cast

from edgeinfer.frames import Array
from edgeinfer.measure import Difference, difference, interleave
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.plan import PREPROCESS
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


@dataclass(frozen=True)
class _Cost:
    """What was measured with preprocessing in one place.

    Attributes:
        latencies: of our frames, block medians in ns.
        alone: of `InferenceSession.run`, likewise; the block at one position came next to ours.
        by_hand: likewise, of a script that resizes and converts the picture, runs the model and
            reads nothing out of the outputs.
        stages: ns of every frame, by stage.
    """

    latencies: list[int]
    alone: list[int]
    by_hand: list[int]
    stages: Mapping[str, list[int]]

    @property
    def added(self) -> Difference:
        return difference(self.alone, self.latencies)

    def told(self) -> str:
        added, script = self.added, difference(self.alone, self.by_hand)
        stages = ", ".join(
            f"{stage} {format_ns(median(kept))}" for stage, kept in self.stages.items()
        )
        return (
            f"{format_ns(added.ns)} added, 95% interval {format_ns(added.low)} to "
            f"{format_ns(added.high)}; {format_ns(median(self.latencies))} against "
            f"{format_ns(median(self.alone))} of InferenceSession.run; {stages}; a script that "
            f"prepares the picture by hand adds {format_ns(script.ns)}, {format_ns(script.low)} to "
            f"{format_ns(script.high)}, without postprocessing; "
            f"{len(self.alone)} rounds of {_BLOCK} frames"
        )


def own_cost(context: Context) -> list[Goal]:
    """Frame latency minus `InferenceSession.run`, block medians in turns, by model and threads."""
    goals = []
    for threads in _THREADS:
        goals.append(
            _goal(
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
            _goal(
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


def _goal(
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
    count = context.rounds(rounds // _BLOCK, 5)
    costs = {where: _cost(path, threads, where, count) for where in PREPROCESS}
    # `edgeinfer tune` chooses by latency, too.
    chosen = min(costs, key=lambda where: costs[where].added.ns)
    best = costs[chosen]
    return Goal(
        f"own cost per frame, {what}, {threads} thread(s)",
        best.added.ns / 1e6,
        max(bound_ms, share * median(best.alone) / 1e6),
        "ms",
        detail={
            "preprocessing": f"{chosen}, the cheaper here",
            **{f"preprocessing {where}": cost.told() for where, cost in costs.items()},
        },
        data={
            where: {
                "latency_ns": cost.latencies,
                "plain_ns": cost.alone,
                "by_hand_ns": cost.by_hand,
            }
            for where, cost in costs.items()
        },
    )


def _cost(path: Path, threads: int, where: str, count: int) -> _Cost:
    """Ours and ONNX Runtime alone in turns, with two sessions in this process and no more."""
    plain = PlainSession(path, threads)
    plain.run()  # Its memory is there now, and stays as ONNX Runtime alone would have it.
    # One picture again and again: in a pipeline the decoder has just written it.
    picture = cast(Array, next(open_source(_FRAME)).data)
    stages: dict[str, list[int]] = {"preprocess": [], "inference": [], "postprocess": []}
    latencies: list[int] = []
    alone: list[int] = []
    by_hand: list[int] = []
    with open_model(
        path, LoadOptions("cpu", threads=threads, preprocess=where, use_plan=False)
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

        def timed(run: Callable[[], object], kept: list[int]) -> None:
            sleep(_SETTLE_S)
            taken = []
            for _ in range(_BLOCK):
                began = now_ns()
                run()
                taken.append(now_ns() - began)
            kept.append(round(median(taken)))

        turns = {
            "edgeinfer": frames,
            "plain": lambda: timed(plain.run, alone),
            "script": lambda: timed(lambda: plain.run_picture(picture), by_hand),
        }
        interleave(turns, rounds=count, warmup=2)
    return _Cost(latencies[-count:], alone[-count:], by_hand[-count:], stages)
