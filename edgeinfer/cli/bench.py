"""`edgeinfer bench`: latency per frame, measured."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json, progress, say
from edgeinfer.errors import CheckFailed

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions


@click.command(name="bench")
@click.argument("model", type=PATH)
@click.argument("source", required=False)
@model_options
@click.option(
    "--scenario",
    default="single",
    show_default=True,
    help="single: frames back to back, one at a time.",
)
@click.option(
    "--frames", type=click.IntRange(min=1), help="Frames to measure. [default: 1000 or 20 s]"
)
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds at most.")
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Frames before those, reported apart.",
)
@click.option(
    "--against",
    multiple=True,
    type=PATH,
    metavar="MODEL",
    help="Measure another model in turns with MODEL, so that drift hits both alike; repeatable.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Write the report; the ending chooses json, csv, md or html. Repeatable.",
)
@format_option
def command(
    model: Path,
    source: str | None,
    load_options: LoadOptions,
    scenario: str,
    frames: int | None,
    duration: float | None,
    warmup: int,
    against: tuple[Path, ...],
    reports: tuple[Path, ...],
    output_format: str,
) -> None:
    """Measure how long MODEL takes per frame of SOURCE, and where the time goes."""
    from edgeinfer_bench import bench_many, check_report_path, summary_table, write_report

    for path in reports:
        check_report_path(path)
    with progress("measuring", 100) as show:
        report = bench_many(
            [model, *against],
            source,
            scenario=scenario,
            frames=frames,
            duration_s=duration,
            warmup=warmup,
            options=load_options,
            command=shlex.join(["edgeinfer", *sys.argv[1:]]),
            progress=lambda share: show(round(100 * share)),
        )
    for path in reports:
        write_report(report, path)
        say(f"edgeinfer: wrote {path}")
    if output_format == "json":
        print_json(report.to_dict())
    else:
        print(summary_table(report))
    if not report.valid:
        raise CheckFailed(f"This benchmark is INVALID: {' '.join(report.validity.reasons)}")
