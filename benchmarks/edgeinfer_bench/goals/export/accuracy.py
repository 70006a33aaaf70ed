"""What INT8 loses of the task metric, on trained models and data that they never saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeinfer.datasets import pictures_in
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.export.exported import demo_data, export, target
from edgeinfer_bench.goals.goal import Goal

_BOUND = 1.0


def accuracy(context: Context) -> list[Goal]:
    """Relative loss of the metric within a budget of 1%, head in float."""
    data = demo_data()
    options = ["--calibration", str(data / "calibration")]
    options += ["--validation", str(data / "validation")]
    goals = [_loss(context, "digits detector", data / "digits.onnx", options)]
    real = Path.cwd().parent / "shared" / "realdata"
    if not real.is_dir():
        context.note(f"Accuracy of other models is not measured: {real} does not exist.")
        return goals
    spec = context.folder / "cifar.spec.json"
    pictures = real / "images" / "cifar10_test"
    spec.write_text(json.dumps(_cifar(pictures)), encoding="utf-8")
    options = ["--spec", str(spec), "--calibration", str(_apart(context, pictures))]
    options += ["--validation", str(pictures)]
    path = real / "models" / "winml_cifar10.onnx"
    return [*goals, _loss(context, "winml_cifar10", path, options)]


# What goes into the committed report: no paths of the box.
_KEPT = (
    "sha256",
    "precision",
    "target",
    "parity",
    "metric",
    "kept_float",
    "gate",
    "speed",
    "notes",
)


def _loss(context: Context, name: str, path: Path, options: list[str]) -> Goal:
    context.say(f"exporting {name} within 1%")
    output = context.folder / f"{path.stem}-gate.onnx"
    common = ["--precision", "int8", "--target", target(), "--max-drop", "1%"]
    report = export(context, path, output, [*common, *options])
    gate = report["gate"]
    return Goal(
        f"relative loss of {gate['metric']}, {name}, INT8",
        100 * gate["loss"],
        _BOUND,
        "%",
        detail={
            "metric": f"{gate['before']:.4f} before, {gate['after']:.4f} after",
            "attempts": str(len(gate["attempts"])),
            "kept in float": f"{len(report['kept_float'])} nodes",
            "speed": json.dumps(report["speed"].get("p50_ns", {})),
        },
        data={key: report[key] for key in _KEPT},
    )


def _cifar(pictures: Path) -> dict[str, Any]:
    item = {"name": "modelInput", "size_hw": [32, 32], "resize": "stretch", "color": "rgb"}
    names = sorted(path.name for path in pictures.iterdir())
    picture = {**item, "mean": [0.5] * 3, "std": [0.5] * 3}
    return {"task": "classify", "head": "logits", "labels": names, "inputs": [picture]}


def _apart(context: Context, pictures: Path) -> Path:
    """Calibration pictures that are not among the validation pictures: cut-outs of theirs."""
    from edgeinfer.packages import opencv

    cv2 = opencv()
    folder = context.folder / "cifar-calibration"
    folder.mkdir(exist_ok=True)
    for at, path in enumerate(pictures_in(pictures, deep=True)[::5]):
        picture = cv2.imread(str(path))
        cut = cv2.resize(picture[2:30, 2:30, :][:, ::-1], (32, 32))
        cv2.imwrite(str(folder / f"{at:04}.png"), cut)
    return folder
