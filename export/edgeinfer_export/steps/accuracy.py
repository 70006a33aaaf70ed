"""The task metric before and after, and how far it may fall."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from edgeinfer.datasets import Dataset
from edgeinfer.errors import CheckFailed
from edgeinfer.evaluate import DETECTION_LIMIT, SCORE_FLOOR, Evaluation, evaluate
from edgeinfer.model import LoadOptions, open_model

Progress = Callable[[int, int], None]


def measure(path: Path, dataset: Dataset, progress: Progress | None = None) -> Evaluation:
    """Evaluate a file with its own spec on the CPU.

    Raises:
        SpecError: if the classes of dataset and model do not fit each other.
        SourceError: if a picture or label cannot be read.
    """
    options = LoadOptions(
        provider="cpu",
        preprocess="host",
        score_threshold=SCORE_FLOOR,
        max_detections=DETECTION_LIMIT,
        use_plan=False,
    )
    with open_model(path, options) as model:
        # A classifier's answer counts whatever its score; only detectors need the floor.
        return evaluate(model, dataset, progress=progress)


def check_drop(before: Evaluation, after: Evaluation, max_drop: float) -> None:
    """Refuse a file that lost too much.

    Args:
        before: of the source.
        after: of the new file.
        max_drop: allowed fall of the headline metric as a share: 0.01 is one point.

    Raises:
        CheckFailed: with both figures.
    """
    name = before.headline
    old, new = before.metrics[name], after.metrics[name]
    if math.isnan(old) or math.isnan(new):
        raise CheckFailed(
            f"{name} does not exist on {before.dataset} ({before.n} pictures): the drop cannot be "
            f"checked. Give validation data that hold objects of the model's classes."
        )
    if old - new > max_drop:
        raise CheckFailed(
            f"{name} on {before.dataset} fell from {old:.4f} to {new:.4f}, by {old - new:.4f}; "
            f"{max_drop:.4f} is allowed. The file was not written. Give more and more typical "
            f"calibration pictures, another calibration method, or --precision fp32."
        )
