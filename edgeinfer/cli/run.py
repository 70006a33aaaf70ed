"""`edgeinfer run`: frames in, typed results out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.describe import describe
from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json, progress, say, say_notes, summary_text
from edgeinfer.errors import (
    TOLD,
    EdgeInferError,
    ModelFileError,
    SourceError,
    UsageError,
    worth_telling,
)

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions, Model
    from edgeinfer.pipeline import Outcome, Run, RunOptions
    from edgeinfer.sinks import Sink
    from edgeinfer.sources import Source

SYNTHETIC = "synthetic"
_SYNTHETIC_FRAMES = 100
# What a shell calls stdout, whose number belongs to what libraries print.
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@click.command(name="run")
@click.argument("model", type=PATH)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@model_options
@click.option("--json", "json_path", metavar="FILE|-", help="Results as JSON lines.")
@click.option(
    "--output",
    type=PATH,
    help="Annotated picture, folder of pictures, or video; class maps go beside it.",
)
@click.option("--frames", type=click.IntRange(min=1), help="Stop after N frames. [default: all]")
@click.option(
    "--stride", type=click.IntRange(min=1), default=1, show_default=True, help="Take every Nth."
)
@click.option(
    "--policy",
    type=click.Choice(["all", "latest"]),
    help="Take every frame, or drop those that nobody took in time. [default: all for files, "
    "latest for live sources]",
)
@click.option(
    "--lanes",
    type=click.IntRange(1, 16),
    help="Inferences at once, which share the threads: more frames a second, more memory. "
    "[default: 2 for recordings on the CPU, else 1]",
)
@click.option(
    "--reconnect",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    metavar="SECONDS",
    help="Try again for so long where a camera or stream breaks off or is not there yet; inf: for "
    "ever.",
)
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do with a frame that cannot be used.",
)
@format_option
def command(
    model: Path,
    sources: tuple[str, ...],
    load_options: LoadOptions,
    json_path: str | None,
    output: Path | None,
    frames: int | None,
    stride: int,
    policy: str | None,
    lanes: int | None,
    reconnect: float,
    on_error: str,
    output_format: str,
) -> None:
    """Run MODEL on every SOURCE: a picture, a folder, a glob, a video, camera:0, rtsp://..., a
    .npy or .npz, or synthetic[:WxH]."""
    if json_path in _STDOUT:
        json_path = "-"
    if json_path == "-" and output_format == "json":
        raise UsageError("--json - and --format json both want stdout: give --json a file.")
    if json_path == "-" and sys.stdout is None:
        raise EdgeInferError("--json - wants stdout, which is closed: open it, or give a file.")
    from edgeinfer.files import check_writable, is_special
    from edgeinfer.model import open_model
    from edgeinfer.pipeline import RunOptions
    from edgeinfer.sinks import mask_beside
    from edgeinfer.sources import open_sources

    _check_reconnect(reconnect, sources)
    read = read_files(model, sources, load_options)
    check_apart(read, json_path, output)
    if json_path not in (None, "-") and not is_special(Path(str(json_path))):
        check_writable(Path(str(json_path)))
    opened = partial(
        open_sources,
        sources,
        stride=stride,
        threads=load_options.threads or 1,
        reconnect_s=reconnect,
        told=lambda text: say(f"edgeinfer: {text}"),
    )
    with ExitStack() as stack:
        early = None
        if not any(_depends_on_the_model(text) for text in sources):
            # Opened first: its decoder starts while the model opens.
            early = opened()
            stack.callback(early.close)
        whole = _only_the_whole_counts(sources)
        load_options = replace(load_options, lanes=lanes, recording=whole)
        loaded = stack.enter_context(open_model(model, load_options))
        say_notes(loaded.spec.notes, loaded.notes)
        source = early or _made_to_measure(sources, loaded, opened)
        stack.callback(source.close)
        if output is not None and loaded.spec.task == "semantic":
            check_apart(read, None, mask_beside(output))
        sinks = _sinks(json_path, output, source, loaded.spec.task, frames)
        options = RunOptions(
            policy=policy or ("latest" if source.info.live else "all"),
            frames=_limit(frames, source),
            skip_errors=on_error == "skip",
            overlap=whole,
        )
        quiet = json_path == "-" or output_format == "json"
        summary = _drive(loaded, source, sinks, options, quiet)
    for note in source.notes:
        say(f"edgeinfer: {note}")
    _report(summary, output_format, quiet)
    if summary["errors"]:
        raise EdgeInferError(f"Frames that could not be used: {summary['errors']}, see above.")
    if summary["frames"] == 0 and not summary["stopped"]:
        raise EdgeInferError(f"No frame came from {', '.join(sources)}.")


def _drive(
    model: Model, source: Source, sinks: list[Sink], options: RunOptions, quiet: bool
) -> dict[str, Any]:
    from edgeinfer.pipeline import Run
    from edgeinfer.sinks import ReaderGone

    with progress("frames", _total(source, options.frames)) as show:
        endless = source.info.kind in ("video", "synthetic")
        teller = _Teller(quiet or endless, endless, show)
        run = Run(model, source, sinks, options, teller)
        try:
            with _terminating(run):
                summary = run.run()
        except ReaderGone as error:
            raise BrokenPipeError from error
        except SourceError as error:
            if error.stream is None:  # not one frame's, but the source's
                raise
            raise SourceError(f"{error} To go on without it: --on-error skip.") from error
    if summary["frames"] and not teller.found:
        _say_if_blind(Path(summary["model"]["path"]), summary["model"]["sha256"])
    return summary


def _say_if_blind(path: Path, sha256: str) -> None:
    """Nothing was found on any frame: is that the model's fault?"""
    from edgeinfer.artifact import open_model_file, quantized_ops, read_graph
    from edgeinfer.blind import coarse_scores

    # After a night another file may lie there, or none: it has no say in how the run went.
    with suppress(ModelFileError):
        if open_model_file(path).sha256 != sha256:
            return
        graph = read_graph(path)
        if quantized_ops(graph):
            say_notes((), coarse_scores(graph))


def _check_reconnect(seconds: float, sources: Sequence[str]) -> None:
    from edgeinfer.sources import is_live

    if isnan(seconds):
        raise UsageError("--reconnect nan is no number of seconds: give one, or inf.")
    if seconds and not any(is_live(text) for text in sources):
        raise UsageError(
            f"--reconnect is for cameras and streams; {', '.join(sources)} cannot break off. Leave "
            f"it out."
        )


def _only_the_whole_counts(sources: Sequence[str]) -> bool:
    """Live streams and single pictures are answered as soon as possible, one frame at a time."""
    from edgeinfer.sources import is_live, is_one_picture

    if any(is_live(text) for text in sources):
        return False
    return len(sources) > 1 or not is_one_picture(sources[0])


def read_files(model: Path, sources: Sequence[str], options: LoadOptions) -> list[Path]:
    """Every file that a run reads."""
    import glob

    from edgeinfer.resolve import sidecar_of

    named = [model, sidecar_of(model), options.labels, options.spec]
    globbed = [Path(name) for text in sources for name in glob.glob(text)]
    return [path for path in (*named, *map(Path, sources), *globbed) if path and path.exists()]


def check_apart(
    read: Sequence[Path], json_path: str | Path | None, output: Path | None = None
) -> None:
    """Refuse to write over what is read, or two things into one file."""
    lines = None if json_path in (None, "-") else Path(str(json_path))
    for path in (lines, output):
        if path is None or not path.exists():
            continue
        if any(path.samefile(item) for item in read):
            raise UsageError(f"{path} is read by this run and cannot be written: name another.")
        if path.is_dir() and any(path.samefile(item.parent) for item in read if item.is_file()):
            raise UsageError(
                f"{path} holds files that this run reads, and could write over them: name another."
            )
    if lines is not None and output is not None and lines.resolve() == output.resolve():
        raise UsageError(f"--json and --output both name {lines}: name two files.")


def _limit(frames: int | None, source: Source) -> int | None:
    """Synthetic frames never end: without a number they stop after a while."""
    if frames is None and source.info.kind == "synthetic" and source.info.frame_count is None:
        say(f"edgeinfer: {_SYNTHETIC_FRAMES} synthetic frames; --frames says how many.")
        return _SYNTHETIC_FRAMES
    return frames


def _made_to_measure(
    sources: tuple[str, ...], model: Model, opened: Callable[..., Source]
) -> Source:
    """Sources among which some are synthetic or arrays: those are made to the model's measure."""
    from edgeinfer.sources import RandomArrays

    if not model.takes_pictures and sources == (SYNTHETIC,):
        return RandomArrays(model.fed_inputs)
    return opened(size_wh=model.size_wh, inputs=model.given_inputs)


def _depends_on_the_model(text: str) -> bool:
    """Synthetic frames have its size, and it says where one frame of an array ends."""
    from edgeinfer.sniff import ARRAY_SUFFIXES

    return text.startswith(SYNTHETIC) or Path(text).suffix.lower() in ARRAY_SUFFIXES


def _sinks(
    json_path: str | None, output: Path | None, source: Source, task: str, frames: int | None
) -> list[Sink]:
    from edgeinfer.sinks import ClassMaps, JsonLines, open_sink

    sinks: list[Sink] = []
    if output is not None and task == "semantic":
        # Before the JSON lines, which then name the files.
        sinks.append(ClassMaps(output))
    if json_path is not None:
        sinks.append(JsonLines(sys.stdout if json_path == "-" else Path(json_path)))
    if output is not None:
        sinks.append(open_sink(output, source.info, frames))
    return sinks


def _total(source: Source, frames: int | None) -> int | None:
    counts = [count for count in (frames, source.info.frame_count) if count is not None]
    return min(counts, default=None)


class _Teller:
    """Prints a line per picture, or moves the progress bar.

    Args:
        quiet: say nothing of results.
        endless: frames may come for a year; those that cannot be used must not fill the log.
        show: moves the progress bar.
    """

    def __init__(self, quiet: bool, endless: bool, show: Any) -> None:
        self._quiet = quiet
        self._endless = endless
        self._show = show
        self._done = self._skipped = 0
        self.found = False

    def __call__(self, outcome: Outcome) -> None:
        self._done += 1
        self._show(self._done)
        if outcome.result is not None and not self.found:
            value = outcome.result.value
            self.found = not isinstance(value, Sized) or len(value) > 0
        if outcome.error is not None:
            self._skip(outcome, outcome.error)
        elif outcome.result is not None and not self._quiet:
            print(describe(outcome.result.to_dict()), flush=True)

    def _skip(self, outcome: Outcome, error: EdgeInferError) -> None:
        """Of an endless source the first are told, then each that makes ten times as many."""
        self._skipped += 1
        if self._endless and not worth_telling(self._skipped):
            return
        frame = outcome.frame.id if outcome.frame is not None else None
        which = f"{frame.stream} #{frame.index}" if frame is not None else "a frame"
        so_far = ""
        if self._endless and self._skipped >= TOLD:
            so_far = (
                f" {self._skipped} were skipped so far; of more only some are told (--json: all)."
            )
        say(f"edgeinfer: skipped {which}: {error}{so_far}")


@contextmanager
def _terminating(run: Run) -> Iterator[None]:
    """End cleanly on SIGTERM: what is in work is finished, files are closed, the exit code is 0."""
    try:
        before = signal.signal(signal.SIGTERM, lambda *_: run.stop())
    except ValueError:
        # Not the main thread (a test, an embedding program): signals are not ours to take.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(summary: dict[str, Any], output_format: str, quiet: bool) -> None:
    if output_format == "json":
        print_json(summary)
    elif quiet:
        say(summary_text(summary))
    else:
        print(summary_text(summary))
