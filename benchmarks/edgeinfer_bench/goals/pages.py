"""What huge pages save: a model with them against itself without, in turns of fresh processes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgeinfer.model import LoadOptions
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.harness import Contestant, run
from edgeinfer_bench.hosted import Hosted, Job
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.relative import relatives

_DURATION_S = 20.0
_LEAST_S = 5.0


def huge_pages(context: Context) -> list[Goal]:
    """Frame latency with the model's memory in huge pages, as a share of that without."""
    return [
        _goal(context, "640 detector", context.detector()),
        _goal(context, "224 classifier", context.classifier()),
    ]


def _goal(context: Context, what: str, path: Path) -> Goal:
    context.say(f"huge pages: {what}")
    contestants = []
    for label, wanted in (("small pages", False), ("huge pages", True)):
        opening = LoadOptions("cpu", threads=1, use_plan=False, huge_pages=wanted)
        job = Job(path, "synthetic:1280x720", opening, 10)
        contestants.append(Contestant(label, partial(Hosted, job)))
    options = BenchOptions(duration_s=max(_LEAST_S, _DURATION_S * context.effort), block=1)
    report = run(contestants, options, command="edgeinfer_bench.goals")
    _, versus = relatives(report)
    assert versus is not None  # five pairs of processes
    return Goal(
        f"latency with huge pages, of that without, {what}",
        100 * versus.ratio,
        100.0,
        "%",
        detail={
            "95% interval": f"{100 * versus.low:.2f} to {100 * versus.high:.2f}%",
            "processes": f"{options.replicates} of each, {options.duration_s:g} s of each model",
        },
        data=versus.to_dict(),
    )
