"""`edgeinfer tune`: measure the choices of this box, store the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json, progress, say, table
from edgeinfer.errors import EdgeInferError, UsageError

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions


@click.command(name="tune")
@click.argument("model", type=PATH)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@model_options
@click.option(
    "--objective",
    type=click.Choice(["latency", "throughput", "efficiency"]),
    default="latency",
    show_default=True,
    help="latency: the tail of paced frames; throughput: frames per second; efficiency: frames per "
    "joule where the box tells, else per CPU-second.",
)
@click.option(
    "--fps",
    type=click.FloatRange(0, 10000),
    help="Rate of paced frames; 0: one after the other. [default: what the box holds, at most 30]",
)
@click.option(
    "--budget",
    type=click.FloatRange(1, 86400),
    default=45.0,
    show_default=True,
    help="Seconds to take; judging by --validation and building engines come on top. What there "
    "is no time for is not measured, and that is said.",
)
@click.option(
    "--validation",
    metavar="DATASET",
    help="Labelled data: a lower precision is then judged by the task's metric.",
)
@click.option(
    "--max-drop",
    metavar="SHARE",
    help="How much of that metric may be lost, as a share of the reference's. [default: 1%]",
)
@click.option(
    "--build", is_flag=True, help="Build engines that take minutes (TensorRT). [default: off]"
)
@format_option
def command(
    model: Path,
    sources: tuple[str, ...],
    load_options: LoadOptions,
    objective: str,
    fps: float | None,
    budget: float,
    validation: str | None,
    max_drop: str | None,
    build: bool,
    output_format: str,
) -> None:
    """Measure what can run MODEL here, and store the best choice with its evidence.

    SOURCE is pictures or a video with objects on them: a lower precision is chosen only where it
    was seen to give the same answers. The stored plan is used by every command until the model,
    the box or a version changes.
    """
    from edgeinfer.tune import TuneOptions, tune

    if max_drop is not None and validation is None:
        raise UsageError(
            "--max-drop is a share of the metric on labelled data: give --validation DATASET, or "
            "leave it out; without labels the limits that are printed hold."
        )
    asked = TuneOptions(
        objective=objective,
        source=sources,
        validation=validation,
        max_drop=TuneOptions.max_drop if max_drop is None else _share(max_drop),
        fps=fps,
        budget_s=budget,
        build=build,
    )
    with progress("tuning", 100) as show:
        tuned = tune(model, load_options, asked, lambda text, share: show(round(100 * share)))
    document = tuned.document
    for note in document["notes"]:
        say(f"edgeinfer: {note}.")
    if output_format == "json":
        print_json(document)
    else:
        print(_text(document))
    if tuned.path is None:
        raise EdgeInferError(
            f"The plan is not stored: {tuned.refused}. Make room or let it be written to, or set "
            f"EDGEINFER_CACHE to a folder that can be, and tune again."
        )
    say(f"edgeinfer: stored {tuned.path}; --no-plan leaves it unused.")
    if len(tuned.plans) > 1:
        each = "; ".join(plan.text() for plan in tuned.plans)
        say(
            f"edgeinfer: stored for this model now: {each}. Recordings take the one for "
            f"throughput, all else the last of the others; --plan names one."
        )


def _share(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError as error:
        raise UsageError(f"--max-drop takes a share such as 1% or 0.01, not '{text}'.") from error


def _text(document: Mapping[str, Any]) -> str:
    lines = []
    parity = document["parity"]
    seen = "" if parity["objects"] is None else f", {parity['objects']} objects on them"
    lines.append(f"Outputs compared on {parity['frames']} frames of {parity['of']}{seen}. Limits:")
    for name, limits in parity["limits"].items():
        lines.append(f"  {name}: {_limits(limits)}")
    for name, reason in document["skipped_providers"].items():
        lines.append(f"Skipped {name}: {reason}")
    efficiency = document["objective"] == "efficiency"
    joules = document["statistic"].startswith("energy")
    rows: list[tuple[str, ...]] = [_header(efficiency)]
    shown = sorted(document["candidates"], key=_order)
    rows += [_row(item, efficiency, joules) for item in shown]
    lines += ["", table(rows), _meaning(document["objective"], joules)]
    lines += [f"  {_words(item)}: {item['rejected']}" for item in shown if _broken(item)]
    best = document["best"]
    lines += ["", f"Best for {document['objective']} ({document['statistic']}): {_words(best)}"]
    agreement, near = ((best["parity"] or {}).get(key) for key in ("agreement", "near"))
    if agreement is not None and agreement < 1:
        lines.append(f"It gives {agreement:.1%} of the reference's answers")
    if near:
        objects = "1 object" if near == 1 else f"{near:.0f} objects"
        lines.append(f"{objects} near the score threshold appeared or vanished")
    if document["speedup"] == 1:
        lines.append("As good as without a plan")
    elif document["speedup"] is not None:
        lines.append(f"About {document['speedup']:.1f} times as good as without a plan")
    return "\n".join(lines)


def _header(efficiency: bool) -> tuple[str, ...]:
    cpu = ("CPU/frame",) if efficiency else ()
    return ("choice", "measured", "cost", "typical", "p90", "p99", "frames/s", *cpu, "")


def _meaning(objective: str, joules: bool) -> str:
    """What the cost of a row is."""
    of = {
        "latency": "latency of a frame",
        "throughput": "time of the pipeline for a frame, all lanes together",
        "efficiency": f"{'energy' if joules else 'processor time'} of a frame",
    }[objective]
    return (
        f"cost: {of}, the median over blocks; 'times the cost' compares blocks of the same rounds, "
        f"so that figures of different moments (paced or not) are not set against each other"
    )


def _limits(limits: Mapping[str, Any]) -> str:
    outputs = limits["outputs"]
    parts = [] if outputs is None else [f"outputs within {outputs:g} of their range"]
    parts += [
        f"{limits['agreement']:.0%} of the same answers",
        f"boxes overlapping by {limits['iou']:g}",
        f"scores within {limits['score']:g}",
        f"plain tensors within {limits['error']:g}",
    ]
    return ", ".join(parts)


def _order(item: Mapping[str, Any]) -> tuple[bool, bool, float]:
    """By cost, finalists first: paced frames cost something else than those back to back."""
    return (item["cost_ns"] is None, not item["paced"], item["cost_ns"] or 0.0)


def _broken(item: Mapping[str, Any]) -> bool:
    """Whether it was thrown out for more than being slower."""
    return item["rejected"] is not None and item["cost_ns"] is None


def _row(item: Mapping[str, Any], efficiency: bool, joules: bool) -> tuple[str, ...]:
    from edgeinfer.timing import format_ns

    cost = item["cost_ns"]
    times = [format_ns(item[key]) for key in ("typical_ns", "p90_ns", "p99_ns")]
    rate = "-" if item["fps"] is None else f"{item['fps']:.1f}"
    how = "chosen" if item["rejected"] is None else item["rejected"]
    measured = f"{item['frames']} paced" if item["paced"] else str(item["frames"] or "-")
    return (
        _words(item),
        measured,
        f"{cost / 1e6:.3g} mJ" if joules and cost is not None else format_ns(cost),
        *times,
        rate,
        *((format_ns(item["cpu_ns"]),) if efficiency else ()),
        "rejected, see below" if _broken(item) else how,
    )


def _words(item: Mapping[str, Any]) -> str:
    from edgeinfer.plan.choice import choice_from

    return choice_from(item).text()
