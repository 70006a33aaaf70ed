"""Is A against A told apart, and is 3% found? A hundred real runs of A/B mode say.

Each run measures one model three times, in turns and in fresh processes, as `bench A --against B`
does, but for a tenth of its time and in short turns: as it is, as it is again, and with 3% of its
time added to every frame.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median

import edgeinfer
from edgeinfer.model import LoadOptions
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.harness import Contestant, run
from edgeinfer_bench.hosted import Hosted, Job
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.relative import Versus, relatives

DATA = Path(edgeinfer.__file__).parent / "cli" / "demo_data"
# Short, so that a hundred take half an hour: the default measures ten times as long.
OPTIONS = BenchOptions(duration_s=1.6, block=1)
_RUNS = 100
_MOST_FALSE, _LEAST_FOUND = 5.0, 90.0


def one_run(options: BenchOptions = OPTIONS) -> tuple[Versus, Versus]:
    """A against itself, and against itself made 3% slower.

    Raises:
        EdgeInferError: if a process breaks down.
    """
    opening = LoadOptions(provider="cpu", threads=1, use_plan=False)
    job = partial(Job, DATA / "digits.onnx", str(DATA / "conveyor.mp4"), opening, 10)
    jobs = {"A": job(), "again": job(), "slower": job(wrap="edgeinfer_bench.testing:slower")}
    contestants = [Contestant(label, partial(Hosted, one)) for label, one in jobs.items()]
    report = run(contestants, options, command="edgeinfer_bench.goals.bench")
    _, again, slower = relatives(report)
    assert again is not None and slower is not None  # enough turns for any box
    return again, slower


def trust(context: Context) -> list[Goal]:
    """Shares of runs that say the right thing."""
    again: list[Versus] = []
    slower: list[Versus] = []
    count = context.rounds(_RUNS)
    for number in range(count):
        same, planted = one_run()
        again.append(same)
        slower.append(planted)
        context.say(
            f"run {number + 1} of {count}: A again {_said(same)}, 3% slower {_said(planted)}"
        )
    flagged = sum(item.significant for item in again)
    found = sum(item.significant and item.ratio > 1 for item in slower)
    return [
        _goal("A against A told apart", flagged, again, _MOST_FALSE, False),
        _goal("3% of added time found", found, slower, _LEAST_FOUND, True),
    ]


def _said(item: Versus) -> str:
    return f"{item.ratio:.3f} ({item.low:.3f} to {item.high:.3f})"


def _goal(name: str, hits: int, items: list[Versus], bound: float, at_least: bool) -> Goal:
    ratios = sorted(item.ratio for item in items)
    widths = [item.high - item.low for item in items]
    return Goal(
        name=f"{name}, share of {len(items)} real runs",
        value=100 * hits / len(items),
        bound=bound,
        unit="%",
        at_least=at_least,
        detail={
            "runs": f"{hits} of {len(items)}",
            "ratios": f"{ratios[0]:.3f} to {ratios[-1]:.3f}, median {median(ratios):.3f}",
            "width of the interval": f"median {median(widths):.3f}",
            "a run": f"{OPTIONS.duration_s:g} s of each, {OPTIONS.replicates} triples of fresh "
            f"processes, turns of {OPTIONS.block} frames, one thread",
        },
        data={"runs": [item.to_dict() for item in items]},
    )
