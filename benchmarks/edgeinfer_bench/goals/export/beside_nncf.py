"""The accuracy gate beside NNCF's, on the same model, data, metric and budget."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from edgeinfer.datasets import open_dataset
from edgeinfer.errors import EdgeInferError
from edgeinfer.evaluate import DETECTION_LIMIT, SCORE_FLOOR, Evaluation, evaluate
from edgeinfer.measure import interleave, ratio
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.timing import format_ns, now_ns
from edgeinfer_bench.goals.context import Context, environment
from edgeinfer_bench.goals.export.exported import demo_data, export, target
from edgeinfer_bench.goals.goal import Goal

_PYTHON = Path(".venv-nncf/bin/python")
_SCRIPT = Path(__file__).with_name("nncf_gate.py")
# One that plain INT8 may keep, and one that takes a search.
_BUDGETS = (0.01, 0.001)
_TIMEOUT_S = 3600
_BLOCK = 10
# What two runs of one file differ by; and what one picture of 120 moves the metric by, in percent.
_NOISE, _ONE_PICTURE = 0.03, 0.1


def beside_nncf(context: Context) -> list[Goal]:
    """Accuracy, speed and time of both gates on the detector that ships with the package."""
    if not _PYTHON.exists():
        context.note(f"NNCF is not measured: {_PYTHON} is missing; make it with `make nncf`.")
        return []
    goals = []
    for budget in _BUDGETS:
        goals += _both(context, budget)
    return goals


def _both(context: Context, budget: float) -> list[Goal]:
    data = demo_data()
    source = data / "digits.onnx"
    folders = data / "calibration", data / "validation"
    text = f"{budget:.1%}"
    ours, theirs = (context.folder / f"digits-{who}-{budget}.onnx" for who in ("ours", "nncf"))
    context.say(f"edgeinfer's gate, {text}")
    began = now_ns()
    options = ["--precision", "int8", "--target", target(), "--max-drop", text]
    options += ["--calibration", str(folders[0]), "--validation", str(folders[1])]
    report = export(context, source, ours, options, cold=True)
    seconds = (now_ns() - began) / 1e9
    context.say(f"NNCF's gate, {text}")
    told, whole = _nncf(context, source, folders, budget, theirs)
    # NNCF's file says nothing of what it means.
    spec = _spec_of(context, source)
    found = {
        name: _evaluated(path, folders[1], spec)
        for name, path in (("source", source), ("ours", ours), ("nncf", theirs))
    }
    name = found["ours"].headline
    values = {who: one.metrics[name] for who, one in found.items()}
    blocks = _blocks(context, {"ours": ours, "nncf": theirs, "source": source}, spec)
    times = {who: median(taken) for who, taken in blocks.items()}
    faster = ratio(blocks["nncf"], blocks["ours"])
    detail = {
        "metric": ", ".join(f"{who} {value:.4f}" for who, value in values.items()),
        "frame latency": ", ".join(f"{who} {format_ns(ns)}" for who, ns in times.items()),
        "time": f"ours {seconds:.1f} s ({len(report['gate']['attempts'])} attempts), NNCF "
        f"{whole:.1f} s ({told['validations']} validations), both from start to end of the process",
        "versions": f"nncf {told['version']}",
        "kept in float besides the head": str(
            sum(reason["why"] == "accuracy" for reason in report["float_reasons"])
        ),
    }
    # Being better than the source is luck: what counts is what was lost of it.
    capped = {who: min(value, values["source"]) for who, value in values.items()}
    lost = 100 * (capped["nncf"] - capped["ours"]) / values["source"]
    return [
        Goal(f"{name} lost to NNCF's gate, budget {text}", lost, _ONE_PICTURE, "%", detail=detail),
        Goal(
            f"frame latency over that of NNCF's file, budget {text}",
            faster.ratio,
            1 + _NOISE,
            "times",
            detail={"95% interval": f"{faster.low:.3f} to {faster.high:.3f}", **detail},
            data={"blocks_ns": blocks},
        ),
        Goal(
            f"time over that of NNCF's gate, budget {text}",
            seconds / whole,
            1.0,
            "times",
            detail=detail,
        ),
    ]


def _nncf(
    context: Context, source: Path, folders: tuple[Path, Path], budget: float, output: Path
) -> tuple[dict[str, Any], float]:
    """Run NNCF in its environment; what it told, and the seconds of the whole process."""
    variables = {**environment(), "EDGEINFER_CACHE": str(context.folder / "nncf-cache")}
    # Its packages, not ours.
    variables.pop("PYTHONPATH", None)
    arguments = [str(one) for one in (source, *folders, budget, output)]
    began = now_ns()
    done = subprocess.run(
        [str(_PYTHON.absolute()), str(_SCRIPT), *arguments],
        cwd=context.folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    seconds = (now_ns() - began) / 1e9
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise EdgeInferError(f"NNCF failed ({done.returncode}): {said[0]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer, seconds


def _spec_of(context: Context, source: Path) -> Path:
    with open_model(source, LoadOptions(provider="cpu", use_plan=False)) as model:
        document = {**model.spec.to_dict(), "target": None}
    path = context.folder / "digits.spec.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _options(spec: Path, floor: float | None = None) -> LoadOptions:
    return LoadOptions(
        provider="cpu",
        preprocess="host",
        use_plan=False,
        spec=spec,
        score_threshold=floor,
        max_detections=DETECTION_LIMIT if floor is not None else None,
    )


def _evaluated(path: Path, dataset: Path, spec: Path) -> Evaluation:
    with open_model(path, _options(spec, SCORE_FLOOR)) as model:
        return evaluate(model, open_dataset(str(dataset)))


def _blocks(context: Context, files: dict[str, Path], spec: Path) -> dict[str, list[int]]:
    pictures = [sample.picture for sample in open_dataset(str(demo_data() / "validation"))][:_BLOCK]
    kept: dict[str, list[int]] = {name: [] for name in files}
    rounds = context.rounds(100, 5)
    with ExitStack() as stack:
        models = {
            name: stack.enter_context(open_model(path, _options(spec)))
            for name, path in files.items()
        }

        def block(name: str) -> None:
            taken = [models[name](picture).latency_ns for picture in pictures]
            kept[name].append(round(median(taken)))

        interleave({name: partial(block, name) for name in files}, rounds=rounds, warmup=2)
    return {name: taken[-rounds:] for name, taken in kept.items()}
