"""bench(): from files and options to a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import UsageError
from edgeinfer_bench.harness import Contestant, run
from edgeinfer_bench.hosted import Hosted, Job
from edgeinfer_bench.options import DEFAULT_REPLICATES, BenchOptions
from edgeinfer_bench.repeat import repeating
from edgeinfer_bench.report import Report, unique
from edgeinfer_bench.scenarios import Progress

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions

_PROFILED_FRAMES = 8


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model with one way of opening it."""

    label: str
    path: Path
    options: LoadOptions


def bench(
    model: str | Path,
    source: str | Path | None = None,
    *,
    scenario: str = "single",
    fps: float | None = None,
    frames: int | None = None,
    duration_s: float | None = None,
    warmup: int | None = None,
    replicates: int = DEFAULT_REPLICATES,
    streams: int = 1,
    policy: str | None = None,
    deadline_ms: float | None = None,
    target_ms: float | None = None,
    options: LoadOptions | None = None,
    operators: bool = True,
    command: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure how long a model takes per frame, and where the time goes.

    Args:
        model: an ONNX file.
        source: what `edgeinfer.open_source` takes; by default the video that ships with
            edgeinfer, and for models that take more than a picture, or none, seeded random arrays.
            A recording shorter than the run is read again from its start, and the report says so.
        scenario, fps, frames, duration_s, warmup, replicates, streams, policy, deadline_ms,
            target_ms: see `BenchOptions`.
        options: how to open the model.
        operators: whether to time its operators, too.
        command: what repeats this run, for the report.
        progress: called between turns with the share that is done, from 0 to 1.

    Returns:
        A report with one result; `Report.valid` says whether it can be trusted.

    Raises:
        UsageError: for options that do not fit together.
        EdgeInferError: if the model or the source cannot be opened.
    """
    chosen = BenchOptions(
        scenario=scenario,
        frames=frames,
        duration_s=duration_s,
        warmup=warmup,
        fps=fps,
        streams=streams,
        policy=policy,
        deadline_ms=deadline_ms,
        target_ms=target_ms,
        replicates=replicates,
    )
    return bench_many(
        [model],
        source,
        bench_options=chosen,
        options=options,
        operators=operators,
        command=command,
        progress=progress,
    )


def bench_many(
    models: Sequence[str | Path],
    source: str | Path | None = None,
    *,
    bench_options: BenchOptions | None = None,
    options: LoadOptions | None = None,
    labels: Sequence[str] | None = None,
    operators: bool = True,
    command: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure several models in turns, each in live processes of its own, so that drift of the box
    hits all alike.

    Several files are compared as they are: stored plans stay unused, since one could run the same
    variant for all of them.

    Args:
        models: ONNX files.
        labels: what to call the models; by default their file names.

    The other arguments and errors are those of `bench`.
    """
    from edgeinfer.model import LoadOptions

    paths = [Path(model) for model in models]
    names = unique([path.stem for path in paths]) if labels is None else list(labels)
    if len(names) != len(paths) or len(set(names)) != len(names):
        raise UsageError(f"{len(paths)} models were given and {len(set(names))} different labels.")
    wanted = options or LoadOptions()
    if len(paths) > 1:
        wanted = dataclasses.replace(wanted, use_plan=False)
    cells = [Cell(name, path, wanted) for name, path in zip(names, paths, strict=True)]
    return bench_cells(
        cells,
        source,
        bench_options=bench_options,
        operators=operators,
        command=command or _command(paths, source, bench_options or BenchOptions(), wanted),
        progress=progress,
    )


def bench_cells(
    cells: Sequence[Cell],
    source: str | Path | None = None,
    *,
    bench_options: BenchOptions | None = None,
    operators: bool = True,
    others: Sequence[Contestant] = (),
    notes: Sequence[str] = (),
    most_frames: int | None = None,
    command: str,
    progress: Progress | None = None,
) -> Report:
    """Measure models, each opened in its own way, and others that are no models of ours.

    Args:
        others: peers, say; they take turns with the models.
        notes: for the report.
        most_frames: of the source that are used; None: all that can be held.

    The other arguments and errors are those of `bench`.
    """
    chosen = bench_options or BenchOptions()
    text = None if source is None else str(source)
    contestants = [
        *(_contestant(cell, text, chosen, operators, most_frames) for cell in cells),
        *others,
    ]
    # A model may be called like a peer, and a peer may take part with two interpreters.
    labels = unique([contestant.label for contestant in contestants])
    contestants = [
        dataclasses.replace(contestant, label=label)
        for contestant, label in zip(contestants, labels, strict=True)
    ]
    return run(contestants, chosen, command=command, notes=notes, progress=progress)


def _contestant(
    cell: Cell,
    source: str | None,
    options: BenchOptions,
    operators: bool,
    most_frames: int | None,
) -> Contestant:
    opening = cell.options
    if options.scenario == "offline":
        opening = dataclasses.replace(opening, recording=True)
    job = Job(cell.path, source, opening, options.warmup, most_frames=most_frames)

    def profile() -> Mapping[str, Any]:
        process = Hosted(job)
        try:
            return process.operators(_PROFILED_FRAMES)
        finally:
            process.close()

    return Contestant(cell.label, lambda: Hosted(job), profile if operators else None)


# How the options of `BenchOptions` are called on the command line.
_WORDS = {
    "scenario": "--scenario",
    "fps": "--fps",
    "streams": "--streams",
    "policy": "--policy",
    "deadline_ms": "--deadline",
    "target_ms": "--target",
    "frames": "--frames",
    "duration_s": "--duration",
    "warmup": "--warmup",
    "replicates": "--replicates",
}


def _command(
    paths: Sequence[Path], source: str | Path | None, measuring: BenchOptions, opening: LoadOptions
) -> str:
    """What repeats a call from Python: models, frames, how they are measured, and on what."""
    words = ["bench", *map(str, paths), *([] if source is None else [str(source)])]
    default = BenchOptions()
    for name, option in _WORDS.items():
        value = getattr(measuring, name)
        if value != getattr(default, name):
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    if opening.provider != "auto":
        words += ["--provider", opening.provider]
    if opening.threads is not None:
        words += ["--threads", str(opening.threads)]
    return repeating(words)
