"""Open models, warm them up, let a scenario measure them, judge, report."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import UsageError
from edgeinfer.machine import this_machine
from edgeinfer.timing import now_ns
from edgeinfer_bench.boxstate import BoxState, look
from edgeinfer_bench.feed import Feed
from edgeinfer_bench.options import DEFAULT_BLOCK, DEFAULT_WARMUP, BenchOptions
from edgeinfer_bench.recorder import Recorder
from edgeinfer_bench.report import Report, now_iso, unique
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.scenarios import SCENARIOS, Clock, Progress
from edgeinfer_bench.subject import Contender, Subject
from edgeinfer_bench.validity import judge
from edgeinfer_bench.versions import versions

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions
    from edgeinfer.sources import Source

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Entry:
    """One model of a run: how to open it and where its frames come from."""

    label: str
    open_model: Callable[[], Subject]
    open_source: Callable[[Subject], Source]


def bench(
    model: str | Path,
    source: str | None = None,
    *,
    scenario: str = "single",
    frames: int | None = None,
    duration_s: float | None = None,
    warmup: int = DEFAULT_WARMUP,
    options: LoadOptions | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure how long a model takes per frame, and where the time goes.

    Args:
        model: an ONNX file.
        source: what `edgeinfer.open_source` takes; by default synthetic frames of the size that
            the model's spec asks for. A recording shorter than the run is read again from its
            start, and the report says so.
        scenario: ``single``: frames back to back.
        frames: how many to measure; see `BenchOptions` for the defaults.
        duration_s: how long to measure, in seconds.
        warmup: frames before those, reported apart.
        options: how to open the model.
        command: what repeats this run, for the report.
        progress: called between frames with the share that is done, from 0 to 1.

    Returns:
        A report with one result; `Report.valid` says whether it can be trusted.

    Raises:
        EdgeInferError: if the model or the source cannot be opened, or fails on the way.
    """
    return bench_many(
        [model],
        source,
        scenario=scenario,
        frames=frames,
        duration_s=duration_s,
        warmup=warmup,
        options=options,
        command=command,
        progress=progress,
    )


def bench_many(
    models: Sequence[str | Path],
    source: str | None = None,
    *,
    scenario: str = "single",
    frames: int | None = None,
    duration_s: float | None = None,
    warmup: int = DEFAULT_WARMUP,
    block: int = DEFAULT_BLOCK,
    options: LoadOptions | None = None,
    labels: Sequence[str] | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure several models in one process, in turns, so that drift of the box hits all alike.

    All of them are open at once. Each reads its own copy of the source. Several files are compared
    as they are: stored plans stay unused, since one could run the same variant for all of them.

    Args:
        models: ONNX files.
        block: frames that one model runs before the next takes over.
        labels: what to call the models; by default their file names.

    The other arguments and errors are those of `bench`.
    """
    from edgeinfer.model import LoadOptions

    chosen = BenchOptions(scenario, frames, duration_s, warmup, block)
    paths = [Path(model) for model in models]
    names = unique([path.stem for path in paths] if labels is None else list(labels))
    if len(names) != len(paths):
        raise UsageError(f"{len(paths)} models were given and {len(names)} labels.")
    wanted = options or LoadOptions()
    if len(paths) > 1:
        wanted = replace(wanted, use_plan=False)
    entries = [_entry(path, name, source, wanted) for path, name in zip(paths, names, strict=True)]
    repeat = command or _command(paths, source, chosen)
    return run(entries, chosen, command=repeat, progress=progress)


def _entry(path: Path, label: str, source: str | None, options: LoadOptions) -> Entry:
    from edgeinfer.model import open_model

    return Entry(label, lambda: open_model(path, options), lambda model: _frames(model, source))


def _frames(model: Subject, source: str | None) -> Source:
    from edgeinfer.sources import RandomArrays, open_source

    text = SYNTHETIC if source is None else source
    first = model.spec.inputs[0] if model.spec.inputs else None
    if text == SYNTHETIC and (first is None or first.kind == "tensor"):
        return RandomArrays(model.inputs)
    size_wh = None if first is None or first.size_hw is None else first.size_hw[::-1]
    return open_source(text, size_wh=size_wh, inputs=getattr(model, "given_inputs", ()))


def _command(paths: Sequence[Path], source: str | None, options: BenchOptions) -> str:
    words = ["edgeinfer", "bench", str(paths[0]), *([] if source is None else [source])]
    for other in paths[1:]:
        words += ["--against", str(other)]
    if options.frames is not None:
        words += ["--frames", str(options.frames)]
    if options.duration_s is not None:
        words += ["--duration", f"{options.duration_s:g}"]
    if options.warmup != DEFAULT_WARMUP:
        words += ["--warmup", str(options.warmup)]
    return shlex.join(words)


def run(
    entries: Sequence[Entry],
    options: BenchOptions,
    *,
    command: str,
    clock: Clock = now_ns,
    observe: Callable[[], BoxState] = look,
    progress: Progress | None = None,
) -> Report:
    """Run a scenario over entries; what `bench` and `bench_many` stand on.

    Args:
        entries: at least one.
        options: scenario and length.
        command: what repeats this run.
        clock: monotonic nanoseconds.
        observe: looks at the box, just before the first measured frame and just after the last.
        progress: called between frames with the share that is done.

    Raises:
        UsageError: if there is no entry.
        EdgeInferError: whatever models and sources raise.
    """
    if not entries:
        raise UsageError("There is no model to measure.")
    with contextlib.ExitStack() as stack:
        contenders = [_open(entry, options, clock, stack) for entry in entries]
        for contender in contenders:
            _warm_up(contender, options.warmup)
        before = observe()
        elapsed_ns = SCENARIOS[options.scenario](
            contenders, options, clock, progress or (lambda share: None)
        )
        after = observe()
        for contender in contenders:
            contender.recheck()
            contender.feed.close()
        validity = judge(before, after, elapsed_ns, contenders)
        results = tuple(_result(contender, options, len(entries) > 1) for contender in contenders)
    validity = replace(validity, evidence=_plain(validity.evidence))
    machine = _plain(this_machine().to_dict())
    return Report(command, now_iso(), machine, versions(), validity, results)


def _plain(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """As it is when read back from JSON, so that a report equals its own file."""
    read: Mapping[str, Any] = json.loads(json.dumps(value))
    return read


def _open(
    entry: Entry, options: BenchOptions, clock: Clock, stack: contextlib.ExitStack
) -> Contender:
    start = clock()
    model = entry.open_model()
    opening_ns = clock() - start
    stack.callback(model.close)
    feed = Feed(entry.open_source(model), clock)
    stack.callback(feed.close)
    return Contender(
        entry.label, model, feed, opening_ns, Recorder(options.warmup), Recorder(options.max_frames)
    )


def _warm_up(contender: Contender, frames: int) -> None:
    for _ in range(frames):
        if not contender.step(contender.warmup):
            return


def _result(contender: Contender, options: BenchOptions, interleaved: bool) -> BenchResult:
    about = _plain(contender.model.summary())
    flags = dict.fromkeys([*(about.get("flags") or ()), *sorted(contender.flags)])
    return BenchResult(
        label=contender.label,
        scenario=options.scenario,
        about={**about, "flags": list(flags)},
        samples_ns=contender.measured.samples(),
        warmup_samples_ns=contender.warmup.samples(),
        opening_ns=contender.opening_ns,
        first_frame_ns=contender.first_frame_ns(),
        source=contender.feed.to_dict(),
        block=options.block if interleaved else None,
    )
