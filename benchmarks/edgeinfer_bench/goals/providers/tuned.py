"""Does `tune` find what an exhaustive sweep finds, and how long does it take?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from statistics import median
from typing import Any

from edgeinfer.errors import EdgeInferError
from edgeinfer.measure import ratio
from edgeinfer.plan import Choice, recall_plans
from edgeinfer.timing import format_ns, now_ns
from edgeinfer.tune import TuneOptions, tune
from edgeinfer.tune.candidate import Pace
from edgeinfer.tune.race import Standing, costs
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.providers.subjects import DETECTOR, Subject, subjects
from edgeinfer_bench.goals.providers.sweep import Arena, Swept

_BOUND, _SECONDS = 1.03, 60.0
_BLOCK_NS = 400_000_000


def tuned_plans(context: Context) -> list[Goal]:
    """For each model the tuned plan's p50 over that of the best configuration of all, by blocks
    measured in turns; and what tuning the 640 detector took."""
    goals = []
    for item in subjects(context):
        context.say(f"tuning {item.name}")
        plan, choice, seconds = tuned(context, item, "latency")
        if item.name == " ".join(map(str, DETECTOR)):
            goals.append(_duration(item, plan, seconds))
        goals.append(_beside_sweep(context, item, plan, choice, seconds))
    return goals


def tuned(
    context: Context, item: Subject, objective: str
) -> tuple[Mapping[str, Any], Choice, float]:
    """Tune a model with what `tune` takes by default, and read the plan back as `load` does.

    Returns:
        The plan's document, what it chose, and the seconds that tuning took.

    Raises:
        EdgeInferError: if nothing was stored.
    """
    asked = TuneOptions(objective, source=item.source)
    if context.effort < 0.5:  # to try the script itself
        asked = replace(asked, budget_s=max(5.0, context.effort * asked.budget_s))
    began = now_ns()
    document = tune(item.path, asked=asked).document
    seconds = (now_ns() - began) / 1e9
    stored, why_not = recall_plans(document["model"]["sha256"])
    kept = [plan for plan in stored if plan.objective == objective]
    if not kept:
        raise EdgeInferError(f"The plan of {item.name} was not kept: {'; '.join(why_not)}")
    return document, kept[0].choice, seconds


def _duration(item: Subject, plan: Mapping[str, Any], seconds: float) -> Goal:
    detail = {
        "candidates": str(len(plan["candidates"])),
        "providers": ", ".join(sorted({one["provider"] for one in plan["candidates"]})),
        "skipped": "; ".join(f"{k}: {v}" for k, v in plan["skipped_providers"].items()) or "none",
    }
    return Goal(f"tune {item.name}", seconds, _SECONDS, "s", detail=detail)


def _beside_sweep(
    context: Context, item: Subject, plan: Mapping[str, Any], choice: Choice, seconds: float
) -> Goal:
    context.say(f"sweeping {item.name}")
    pace = Pace("latency", round(1e9 / plan["fps"]) if plan["fps"] else 0, _BLOCK_NS)
    with closing(Arena(item, pace)) as arena:
        began = now_ns()
        swept = arena.sweep(context.rounds(6))
        sweep_seconds = (now_ns() - began) / 1e9
        context.say(f"measuring the plan of {item.name} beside the best")
        best, ours = arena.compare(swept.best, choice, context.rounds(20, 5))
    compared = ratio(costs(best), costs(ours))
    samples = {"best": _samples(best), "plan": _samples(ours)}
    middle = {name: median(taken) for name, taken in samples.items()}
    detail = {
        "plan": f"{choice.text()}: {format_ns(middle['plan'])}",
        "best of the sweep": f"{swept.best.text()}: {format_ns(middle['best'])}",
        "ratio of blocks, 95% interval": f"{compared.low:.3f} to {compared.high:.3f}",
        "frames each": f"{len(samples['plan'])} in {compared.rounds} blocks, "
        + (f"paced at {plan['fps']:.1f}/s" if plan["fps"] else "one after the other"),
        "sweep": _told(swept, sweep_seconds),
        "tuning took": f"{seconds:.0f} s, {len(plan['candidates'])} candidates",
    }
    value = compared.ratio
    if choice.key == swept.best.key:
        # What is measured then is how far two processes of one configuration are apart.
        detail["verdict"] = f"the same configuration (measured {value:.3f} times itself)"
        value = 1.0
    return Goal(
        f"p50 of the tuned plan over the best of the sweep, {item.name}",
        value,
        _BOUND,
        "times",
        detail=detail,
        data={"samples_ns": samples, "plan": choice.to_dict(), "best": swept.best.to_dict()},
    )


def _samples(standing: Standing) -> list[int]:
    return [sample for block in standing.blocks for sample in block.samples_ns]


def _told(swept: Swept, seconds: float) -> str:
    text = f"{swept.measured} configurations in {seconds:.0f} s"
    if swept.refused:
        text += f"; {swept.refused} more do not open or answer otherwise"
    return text
