"""What importing, loading and asking for help cost in fresh processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from edgeinfer.measure import difference, interleave
from edgeinfer.timing import format_ns
from edgeinfer_bench.goals.context import Context, fresh
from edgeinfer_bench.goals.goal import Goal

_HAND = """
import time
began = time.perf_counter_ns()
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
session = onnxruntime.InferenceSession({model!r}, options, providers=["CPUExecutionProvider"])
print(time.perf_counter_ns() - began)
"""
_LOAD = """
import time
began = time.perf_counter_ns()
import edgeinfer
model = edgeinfer.load({model!r}, "cpu", threads={threads}, cache_dir={cache!r})
print(time.perf_counter_ns() - began)
model.close()
"""
_CLICK = """
import click
@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", help="A name.")
def command(name):
    "Say hello."
command()
"""


def start_up(context: Context) -> list[Goal]:
    """Middle differences between fresh processes that take turns."""
    with tempfile.TemporaryDirectory(dir=context.folder) as name:
        folder = Path(name)
        return [_import_cost(context, folder), *_load_cost(context, folder), _help(context, folder)]


def _processes(
    context: Context, alternatives: Mapping[str, Callable[[], None]]
) -> Mapping[str, tuple[int, ...]]:
    return interleave(alternatives, rounds=context.rounds(31, 15), warmup=2)


def _runs(folder: Path, *arguments: str) -> Callable[[], None]:
    def run() -> None:
        fresh(arguments, folder)

    return run


def _difference(
    name: str, samples: Mapping[str, tuple[int, ...]], ours: str, base: str, bound_ms: float
) -> Goal:
    added = difference(samples[base], samples[ours])
    detail = {"95% interval": f"{format_ns(added.low)} to {format_ns(added.high)}"}
    detail |= {key: format_ns(median(taken)) for key, taken in samples.items()}
    detail["processes each"] = str(len(samples[ours]))
    data = {key: list(taken) for key, taken in samples.items()}
    return Goal(name, added.ns / 1e6, bound_ms, "ms", detail=detail, data=data)


def _import_cost(context: Context, folder: Path) -> Goal:
    context.say("import edgeinfer")
    samples = _processes(
        context,
        {
            "bare interpreter": _runs(folder, "-c", "pass"),
            "import edgeinfer": _runs(folder, "-c", "import edgeinfer"),
        },
    )
    name = "import edgeinfer above a bare interpreter"
    return _difference(name, samples, "import edgeinfer", "bare interpreter", 30)


def _help(context: Context, folder: Path) -> Goal:
    context.say("edgeinfer --help")
    samples = _processes(
        context,
        {
            "bare click program": _runs(folder, "-c", _CLICK, "--help"),
            "edgeinfer --help": _runs(folder, "-m", "edgeinfer", "--help"),
        },
    )
    name = "edgeinfer --help above a bare click program"
    return _difference(name, samples, "edgeinfer --help", "bare click program", 150)


def _load_cost(context: Context, folder: Path) -> list[Goal]:
    """The first load of a file ever, and of one that this box has seen before."""
    context.say("first load")
    model = str(context.detector())
    taken: dict[str, list[int]] = {"by hand": [], "load, never seen": [], "load, seen": []}
    seen = folder / "cache-seen"

    def timed(key: str, program: str, cache: Path) -> None:
        code = program.format(model=model, threads=context.threads, cache=str(cache))
        taken[key].append(int(fresh(["-c", code], folder).split()[-1]))

    def never_seen() -> None:
        cache = folder / "cache-new"
        shutil.rmtree(cache, ignore_errors=True)
        timed("load, never seen", _LOAD, cache)

    _processes(
        context,
        {
            "by hand": lambda: timed("by hand", _HAND, seen),
            "load, never seen": never_seen,
            "load, seen": lambda: timed("load, seen", _LOAD, seen),
        },
    )
    # The first two of each warmed the page cache.
    samples = {key: tuple(values[2:]) for key, values in taken.items()}
    above = "above onnxruntime by hand"
    return [
        _difference(
            f"load of a file never seen, {above}", samples, "load, never seen", "by hand", 50
        ),
        _difference(f"load of a file seen before, {above}", samples, "load, seen", "by hand", 50),
    ]
