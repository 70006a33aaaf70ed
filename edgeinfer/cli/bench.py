"""`edgeinfer bench`: latency per frame, measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.options import PATH, format_option, matrix_options
from edgeinfer.cli.output import print_json, progress, say
from edgeinfer.errors import CheckFailed, EdgeInferError

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions
    from edgeinfer_bench import Report


@click.command(name="bench")
@click.argument("model", type=PATH)
@click.argument("rest", nargs=-1, metavar="[MODEL]... [SOURCE]")
@matrix_options
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help="fp32, fp16, int8, ...: the variant of MODEL in this precision, beside it or given by "
    "--variant. Repeatable: each is measured. [default: MODEL as it is]",
)
@click.option(
    "--scenario",
    default="single",
    show_default=True,
    help="single: frames back to back. paced: at --fps, as a camera delivers. offline: as many a "
    "second as the box can do. server: random arrivals, the highest rate that holds --target.",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="paced: frames a second of each stream, at most 10000 in all. [default: the recording's "
    "own, else 30]",
)
@click.option(
    "--streams",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="paced: cameras at once.",
)
@click.option(
    "--lanes",
    type=click.IntRange(1, 16),
    help="Inferences at once, which share the threads. [default: 1; for offline what the stored "
    "plan for throughput says, else 2 on the CPU]",
)
@click.option(
    "--policy",
    type=click.Choice(["all", "latest"]),
    help="paced: let frames wait, or drop those that a newer one overtakes. [default: latest, and "
    "drops make the report INVALID]",
)
@click.option(
    "--deadline",
    "deadline_ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="paced: a frame older than this has missed. [default: until the next one comes]",
)
@click.option(
    "--target",
    "target_ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="server: 99 in 100 frames are answered in this time. [default: 3 times the median]",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    help="Frames to measure, in all processes together. [default: 1000 or 20 s]",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of measuring at most, in all processes together.",
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    help="Frames before those in each process, reported apart. [default: until they settle]",
)
@click.option(
    "--replicates",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="Fresh processes that the frames are shared out to; 'compare' wants 5.",
)
@click.option(
    "--against",
    multiple=True,
    type=PATH,
    metavar="MODEL",
    help="Measure another model in turns with MODEL, so that drift hits both alike; repeatable.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME[=PYTHON]",
    help="Measure what others do with MODEL, in turns with it: onnxruntime, openvino, "
    "openvino-fp32, opencv-dnn, ultralytics; PYTHON is the interpreter of an environment that has "
    "it. Repeatable.",
)
@click.option(
    "--operators/--no-operators",
    default=True,
    show_default=True,
    help="Time each operator, too, in a run of its own.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="Write the report; the ending chooses json, csv, md, html, or svg (the table as a "
    "picture). Repeatable.",
)
@format_option
def command(
    model: Path,
    rest: tuple[str, ...],
    load_options: LoadOptions,
    providers: tuple[str, ...],
    precisions: tuple[str, ...],
    against: tuple[Path, ...],
    peers: tuple[str, ...],
    operators: bool,
    lanes: int | None,
    reports: tuple[Path, ...],
    output_format: str,
    duration: float | None,
    **measuring: Any,
) -> None:
    """Measure how long MODEL takes per frame of SOURCE, and where the time goes.

    SOURCE is what 'run' takes; without it, the video that ships with edgeinfer (random arrays for
    models that take more than a picture, or none). Several models, providers or precisions are
    measured in turns, each in processes of its own.
    """
    from edgeinfer.cli.run import check_apart, read_files
    from edgeinfer_bench import BenchOptions, Interrupted, check_report_path, summary_table
    from edgeinfer_bench.api import bench_cells
    from edgeinfer_bench.matrix import cells_of, split_arguments
    from edgeinfer_bench.peers.contestants import gather
    from edgeinfer_bench.repeat import repeating

    load_options = replace(load_options, lanes=lanes)
    options = BenchOptions(duration_s=duration, **measuring)
    more, source = split_arguments(rest)
    for path in reports:
        check_report_path(path)
        for one in (model, *more, *against, *load_options.variants):
            check_apart(read_files(one, [] if source is None else [source], load_options), path)
    cells = cells_of([model, *more, *against], load_options, providers, precisions)
    interrupted = None
    with closing(gather(peers, cells[0], source, options)) as field, _shares() as tell:
        try:
            report = bench_cells(
                cells,
                source,
                bench_options=options,
                operators=operators,
                others=field.contestants,
                notes=field.notes,
                most_frames=field.most_frames,
                command=repeating(sys.argv[1:]),
                progress=tell,
            )
        except Interrupted as stopped:
            interrupted, report = stopped, stopped.report
    unwritten = _write(report, reports)
    if interrupted is not None:
        for failure in unwritten:
            say(f"edgeinfer: {failure}")
        raise interrupted.__cause__ or interrupted
    if output_format == "json":
        print_json(report.to_dict())
    else:
        print(summary_table(report))
    if unwritten:
        raise EdgeInferError(" ".join(unwritten))
    if not report.valid:
        raise CheckFailed(f"This benchmark is INVALID: {' '.join(report.validity.reasons)}")


@contextmanager
def _shares() -> Iterator[Callable[[float], None]]:
    """A progress bar that takes shares."""
    with progress("measuring", 100) as show:
        yield lambda share: show(round(100 * share))


def _write(report: Report, paths: Sequence[Path]) -> list[str]:
    """Write what can be written, since a run takes long; why the rest could not."""
    return [why for path in paths if (why := _why_unwritten(report, path)) is not None]


def _why_unwritten(report: Report, path: Path) -> str | None:
    from edgeinfer_bench import write_report

    try:
        write_report(report, path)
    except EdgeInferError as error:
        return str(error)
    say(f"edgeinfer: wrote {path}")
    return None
