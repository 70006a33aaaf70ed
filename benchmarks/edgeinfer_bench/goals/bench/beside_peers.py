"""edgeinfer beside every peer that is here, on the same models and frames, in turns.

Run it where OpenVINO is installed, too (the extra ``openvino``): `tune` then may choose it, as a
user of that peer could. `make peers` makes the environment of those that need their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import edgeinfer_bench
from edgeinfer.errors import EdgeInferError
from edgeinfer.model import LoadOptions
from edgeinfer.tune import TuneOptions, tune
from edgeinfer_bench.api import Cell, bench_cells
from edgeinfer_bench.goals.bench.trust import DATA
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.peers import PEERS
from edgeinfer_bench.peers.contestants import gather
from edgeinfer_bench.relative import Versus, relative
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.writers import write_report

_PYTHON = Path(edgeinfer_bench.__file__).parents[2] / ".venv-peers" / "bin" / "python"
# These run here; the others have an environment of their own.
_HERE = ("onnxruntime", "opencv-dnn")
_TUNED, _PLAIN = "edgeinfer, tuned", "edgeinfer, as it comes"
_SECONDS = 15.0
_PLAIN_BOUND = 1.05


@dataclass(frozen=True)
class _Subject:
    """A model and its frames."""

    name: str
    path: Path
    source: str


def _subjects(context: Context) -> Iterator[_Subject]:
    yield _Subject("digits", DATA / "digits.onnx", str(DATA / "conveyor.mp4"))
    yield _Subject("yolov8n-like 640", context.detector(), "synthetic:1280x720")
    yield _Subject("mobilenet-v2-like 224", context.classifier(), "synthetic:1280x720")


def beside_peers(context: Context) -> list[Goal]:
    """Time of the tuned plan over each peer's, and of the defaults over plain ONNX Runtime's."""
    goals: list[Goal] = []
    for item in _subjects(context):
        report = _measure(context, item)
        for ending in ("html", "json"):
            path = context.folder / f"peers-{item.path.stem}.{ending}"
            write_report(report, path)
        context.say(f"the whole report: {path}")
        goals += _goals(item, report)
    return goals


def _measure(context: Context, item: _Subject) -> Report:
    context.say(f"tuning {item.name}")
    tune(item.path, asked=TuneOptions(source=item.source))
    tuned = Cell(_TUNED, item.path, LoadOptions())
    plain = Cell(_PLAIN, item.path, LoadOptions(provider="cpu", use_plan=False))
    options = BenchOptions(duration_s=max(2.0, _SECONDS * context.effort))
    context.say(f"measuring {item.name} beside its peers")
    with closing(gather(_names(), plain, item.source, options)) as field:
        for note in field.notes:
            context.note(f"{item.name}: {note}")
        return bench_cells(
            [tuned, plain],
            item.source,
            bench_options=options,
            others=field.contestants,
            notes=field.notes,
            most_frames=field.most_frames,
            command="python -m edgeinfer_bench.goals.bench --only peers",
        )


def _names() -> list[str]:
    own = f"={_PYTHON}" if _PYTHON.exists() else ""
    return [name if name in _HERE else name + own for name in PEERS]


def _goals(item: _Subject, report: Report) -> Iterator[Goal]:
    results = {result.label: result for result in report.results}
    tuned, plain = results.pop(_TUNED), results.pop(_PLAIN)
    for label, peer in results.items():
        title = f"{item.name}: tuned edgeinfer beside {PEERS[label].title}"
        yield _goal(title, 1.0, relative(peer, tuned), tuned, peer)
    if "onnxruntime" in results:
        peer = results["onnxruntime"]
        title = f"{item.name}: edgeinfer as it comes beside plain ONNX Runtime"
        yield _goal(title, _PLAIN_BOUND, relative(peer, plain), plain, peer)


def _goal(
    title: str, bound: float, found: Versus | None, ours: BenchResult, theirs: BenchResult
) -> Goal:
    if found is None:
        raise EdgeInferError(f"{title}: too few turns to compare; measure with more --effort.")
    agreement = ((theirs.about.get("peer") or {}).get("agreement") or {}).get("sentence")
    plan = ours.about.get("plan") or {}
    return Goal(
        name=title,
        value=found.ratio,
        bound=bound,
        unit="times",
        detail={
            "95% interval": f"{found.low:.3f} to {found.high:.3f}",
            "median latency": f"{_ms(ours)} and {_ms(theirs)} ms",
            "edgeinfer ran on": f"{ours.about.get('provider_impl')} in "
            f"{ours.about.get('compute_precision')}, {plan.get('threads')} thread(s), "
            f"preprocessing on the {plan.get('preprocess')}",
            "peer": f"{theirs.about.get('provider_impl')}, {theirs.about.get('compute_precision')}",
            "answers": str(agreement or "not compared"),
            "where the time goes": f"{_stages(ours)} and {_stages(theirs)}",
        },
        data=found.to_dict(),
    )


def _ms(result: BenchResult) -> str:
    value = result.latency_ns["p50"]
    return "-" if value is None else f"{value / 1e6:.2f}"


def _stages(result: BenchResult) -> str:
    parts = [f"{name} {value / 1e6:.2f}" for name, value in result.stage_means().items() if value]
    return ", ".join(parts)
