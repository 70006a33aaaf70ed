"""The task metric before and after, and how far it may fall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeinfer.datasets import Dataset, UserMetric
from edgeinfer.errors import CheckFailed
from edgeinfer.evaluate import (
    Evaluation,
    change_text,
    evaluate,
    loss,
    lower_is_better,
    showing_weak,
)
from edgeinfer.model import LoadOptions, open_model
from edgeinfer_export.gate.budget import check_metric

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
        use_plan=False,
        # What a user's callable asks for comes one by one.
        recording=not isinstance(dataset, UserMetric),
    )
    with open_model(path, options) as model:
        return evaluate(showing_weak(model), dataset, progress=progress)


def check_drop(before: Evaluation, after: Evaluation, max_drop: float) -> None:
    """Refuse a file that lost too much.

    Args:
        before: of the source.
        after: of the new file.
        max_drop: what may be lost of the headline metric, as a share of what there was.

    Raises:
        CheckFailed: with both figures.
    """
    check_metric(before)
    name = before.headline
    old, new = before.metrics[name], after.metrics[name]
    lost = loss(old, new, name)
    if not lost <= max_drop:
        raise CheckFailed(
            f"{name} on {before.dataset} {change_text(old, new, lost)}; "
            f"{max_drop:.2%} is allowed. The file was not written. Give more and more "
            f"typical calibration pictures, another calibration method, or --precision fp32."
        )


def check_not_blind(before: Evaluation, after: Evaluation) -> None:
    """Refuse a file that sees nothing where its source sees something.

    Raises:
        CheckFailed: with both figures.
    """
    name = before.headline
    old, new = before.metrics[name], after.metrics[name]
    if old > 0 and not new > 0 and not lower_is_better(name):
        raise CheckFailed(
            f"{name} on {before.dataset} fell from {old:.4f} to {new:.4f}: the new file is blind. "
            f"It was not written. Calibrate on typical data, or export with --precision fp32."
        )
