"""Do two files see the same things? Decoded results tell what raw differences cannot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.datasets import read_picture
from edgeinfer.errors import CheckFailed
from edgeinfer.metrics import iou_matrix
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.results import Classes, Detections
from edgeinfer_export.quantize.calibration import PictureCalibration
from edgeinfer_export.steps.verify import sample_numbers

_MAX_PICTURES = 64
_IOU = 0.5
# Below this the user is told: networks that quantize well keep 95% and more.
_LOW_SHARE = 0.8


def agreement(source: Path, output: Path, pictures: PictureCalibration) -> dict[str, Any] | None:
    """The share of the source's answers that the new file gives too.

    For a detector: detections at the model's own threshold, matched by class at IoU 0.5, the best
    score first. For a classifier: the best class.

    Args:
        source: reference file, with its spec.
        output: new file.
        pictures: at most 64 of them are used, evenly chosen.

    Returns:
        ``share`` (None where the source sees nothing), ``answers`` of the source, ``pictures``,
        ``extra``: answers of the new file that the source does not give; None for other tasks.

    Raises:
        CheckFailed: if the new file finds nothing at all where the source finds something.
    """
    options = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    chosen = sample_numbers(len(pictures), _MAX_PICTURES)
    answers = same = given = 0
    with open_model(source, options) as before, open_model(output, options) as after:
        if before.spec.task not in ("detect", "classify"):
            return None
        for index in chosen:
            wanted, got, both = _compare(before, after, pictures.paths[index])
            answers, given, same = answers + wanted, given + got, same + both
    if answers and not given:
        raise CheckFailed(
            f"The exported model finds nothing on {len(chosen)} pictures, where the source finds "
            f"{answers}: it is blind. Calibrate on typical pictures, try another calibration "
            f"method, or export with --precision fp32."
        )
    return {
        "share": same / answers if answers else None,
        "answers": answers,
        "extra": given - same,
        "pictures": len(chosen),
    }


def agreement_notes(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a user must be told about figures of `agreement`."""
    if found is None:
        return ()
    if found["share"] is None:
        return (
            f"the source sees nothing on the {found['pictures']} calibration pictures, so whether "
            f"the new file sees the same is unknown: calibrate on pictures with objects on them",
        )
    if found["share"] < _LOW_SHARE:
        return (
            f"only {found['share']:.0%} of the source's answers on the calibration pictures are "
            f"given by the new file too: this network loses much in INT8; measure it with "
            f"--validation and --max-drop before use, or stay with FP32",
        )
    return ()


def _compare(before: Model, after: Model, path: Path) -> tuple[int, int, int]:
    """Answers of the source, answers of the new file, and how many are the same."""
    picture = read_picture(path)
    wanted, got = before(picture).value, after(picture).value
    if isinstance(wanted, Classes) and isinstance(got, Classes):
        same = len(wanted) and len(got) and wanted.class_ids[0] == got.class_ids[0]
        return min(1, len(wanted)), min(1, len(got)), int(same)
    assert isinstance(wanted, Detections) and isinstance(got, Detections)
    return len(wanted), len(got), matched(wanted, got)


def matched(wanted: Detections, got: Detections) -> int:
    """How many detections of the first have one of the same class in the second, one to one."""
    overlaps = iou_matrix(wanted.boxes_xyxy, got.boxes_xyxy)
    overlaps *= wanted.class_ids[:, None] == got.class_ids[None, :]
    free = np.ones(len(got), bool)
    count = 0
    for row in overlaps:
        usable = np.where(free, row, -1.0)
        if usable.size and usable.max() >= _IOU:
            free[int(usable.argmax())] = False
            count += 1
    return count
