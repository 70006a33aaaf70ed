"""Makes everything that `edgeinfer demo` ships, in order."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

from edgeinfer.datasets import open_dataset
from edgeinfer.evaluate import DETECTION_LIMIT, SCORE_FLOOR, evaluate
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers import runtime_version
from edgeinfer_export.demo_model.digits import DigitPool, load_pools
from edgeinfer_export.demo_model.letterbox import to_input
from edgeinfer_export.demo_model.network import Detector
from edgeinfer_export.demo_model.onnx_file import write_onnx
from edgeinfer_export.demo_model.pictures import write_calibration, write_validation
from edgeinfer_export.demo_model.readme import readme
from edgeinfer_export.demo_model.train import Schedule, draw_training_set, train
from edgeinfer_export.demo_model.video import write_video


def build(out: Path, schedule: Schedule) -> dict[str, float]:
    """Trains the detector and writes model, pictures, video and README.

    Args:
        out: The folder; files of the same names are replaced, others stay.
        schedule: How long to train.

    Returns:
        The figures of the README.
    """
    training, held_out = load_pools()
    _say(f"drawing {schedule.pictures} training pictures")
    data = draw_training_set(training, schedule)
    _say("training")
    return write_all(out, train(data, schedule), training, held_out)


def write_all(
    out: Path, detector: Detector, training: DigitPool, held_out: DigitPool
) -> dict[str, float]:
    """Writes everything into a folder beside `out`, then moves it there piece by piece."""
    out.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".demo-", dir=out.parent))
    try:
        _say("writing pictures and video")
        calibration = write_calibration(training, stage / "calibration")
        validation = write_validation(held_out, stage / "validation")
        truth = write_video(held_out, stage / "conveyor.mp4")
        samples = np.concatenate([to_input(c.picture) for c in calibration[:8]])
        parity = write_onnx(detector, stage / "digits.onnx", samples)
        metrics = _metrics(stage)
        figures = {
            "calibration_pictures": len(calibration),
            "validation_pictures": len(validation),
            "validation_digits": sum(len(entry.digits) for entry in validation),
            "digits_passing": truth["digits_passing"],
            "parity": parity,
            "map50": metrics["map50"],
            "map50_95": metrics["map50_95"],
        }
        (stage / "README.md").write_text(readme(figures, _versions()), encoding="utf-8")
        _replace(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return figures


def _metrics(stage: Path) -> Mapping[str, float]:
    """What `edgeinfer validate` says of the files that were written."""
    options = LoadOptions(
        score_threshold=SCORE_FLOOR, max_detections=DETECTION_LIMIT, use_plan=False
    )
    with open_model(stage / "digits.onnx", options) as model:
        return evaluate(model, open_dataset(str(stage / "validation"))).metrics


def _replace(stage: Path, out: Path) -> None:
    for entry in sorted(stage.iterdir()):
        target = out / entry.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(entry, target)


def _versions() -> dict[str, str]:
    import sklearn

    runtime, version = runtime_version().split()
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "onnx": onnx.__version__,
        runtime: version,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
