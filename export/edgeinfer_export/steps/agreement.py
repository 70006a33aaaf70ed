"""Do two files see the same things? Decoded results tell what raw differences cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.datasets import read_picture
from edgeinfer.errors import CheckFailed
from edgeinfer.metrics import iou_matrix
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.results import Classes, Detections
from edgeinfer_export.quantize.calibration import PictureCalibration
from edgeinfer_export.steps.verify import sample_numbers

_MAX_PICTURES = 64
_IOU = 0.5
# Below this the user is told: networks that quantize well keep 95% and more.
_LOW_SHARE = 0.8
# Boxes of one object in two precisions overlap by 0.9 and more, its scores are a few points apart.
_LOW_IOU, _MUCH_SCORE = 0.8, 0.15

Seen = Classes | Detections


@dataclass
class _Tally:
    """What two files answered, counted."""

    answers: int = 0
    given: int = 0
    same: int = 0
    overlaps: list[float] = field(default_factory=list)
    score_gaps: list[float] = field(default_factory=list)

    def add(self, wanted: Seen, got: Seen) -> None:
        if isinstance(wanted, Classes) and isinstance(got, Classes):
            self.answers += min(1, len(wanted))
            self.given += min(1, len(got))
            if len(wanted) and len(got) and wanted.class_ids[0] == got.class_ids[0]:
                self.same += 1
                self.score_gaps.append(abs(float(wanted.scores[0]) - float(got.scores[0])))
            return
        assert isinstance(wanted, Detections) and isinstance(got, Detections)
        self.answers += len(wanted)
        self.given += len(got)
        for mine, other, overlap in pairs(wanted, got):
            self.same += 1
            self.overlaps.append(overlap)
            self.score_gaps.append(abs(float(wanted.scores[mine]) - float(got.scores[other])))


def can_agree(task: str) -> bool:
    """Whether answers of this task can be compared one by one."""
    return task in ("detect", "classify")


def answers(
    path: Path, pictures: PictureCalibration, most: int = _MAX_PICTURES
) -> list[Seen] | None:
    """What a file sees on calibration pictures, at its own thresholds.

    Args:
        most: so many of them are used, evenly chosen.

    Returns:
        One a picture; None for other tasks than detect and classify.
    """
    options = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    with open_model(path, options) as model:
        if not can_agree(model.spec.task):
            return None
        seen: list[Seen] = []
        for index in sample_numbers(len(pictures), most):
            value = model(read_picture(pictures.paths[index])).value
            assert isinstance(value, Classes | Detections)
            seen.append(value)
        return seen


def compare(wanted: Sequence[Seen], got: Sequence[Seen]) -> dict[str, Any]:
    """How far two files' answers on the same pictures are the same.

    For a detector: detections matched by class at IoU 0.5, the best score first. For a classifier:
    the best class. Boxes and scores are judged apart, on what was matched.

    Returns:
        ``share`` of the first's answers that the second gives too (None where the first sees
        nothing); ``answers`` of the first; ``extra``: answers of the second that the first does
        not give; ``agreement``: twice the common answers over all answers; ``box_iou``: mean IoU
        of matched boxes; ``score_gap``: mean difference of their scores; ``pictures``.
    """
    tally = _Tally()
    for mine, other in zip(wanted, got, strict=True):
        tally.add(mine, other)
    both = tally.answers + tally.given
    return {
        "share": tally.same / tally.answers if tally.answers else None,
        "answers": tally.answers,
        "extra": tally.given - tally.same,
        "agreement": 2 * tally.same / both if both else None,
        "box_iou": float(np.mean(tally.overlaps)) if tally.overlaps else None,
        "score_gap": float(np.mean(tally.score_gaps)) if tally.score_gaps else None,
        "pictures": len(wanted),
    }


def agreement(
    source: Path, output: Path, pictures: PictureCalibration, most: int = _MAX_PICTURES
) -> dict[str, Any] | None:
    """`compare` for two files; None for other tasks than detect and classify.

    Args:
        most: so many pictures are used, evenly chosen.

    Raises:
        CheckFailed: if the new file finds nothing at all where the source finds something.
    """
    wanted = answers(source, pictures, most)
    got = None if wanted is None else answers(output, pictures, most)
    if wanted is None or got is None:
        return None
    found = compare(wanted, got)
    why = blind(found)
    if why is not None:
        raise CheckFailed(
            f"The exported model {why}: it is blind. Calibrate on typical pictures, try another "
            f"calibration method, or export with --precision fp32."
        )
    return found


def blind(found: Mapping[str, Any]) -> str | None:
    """Why the second of two files sees nothing, or None."""
    given = round((found["share"] or 0.0) * found["answers"]) + found["extra"]
    if found["answers"] and not given:
        return (
            f"finds nothing on {found['pictures']} pictures, where the source finds "
            f"{found['answers']}"
        )
    return None


def agreement_notes(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a user must be told about figures of `agreement`."""
    if found is None:
        return ()
    if found["share"] is None:
        return (
            f"the source sees nothing on the {found['pictures']} calibration pictures, so whether "
            f"the new file sees the same is unknown: calibrate on pictures with objects on them",
        )
    notes = []
    if found["share"] < _LOW_SHARE:
        notes.append(
            f"only {found['share']:.0%} of the source's answers on the calibration pictures are "
            f"given by the new file too: this network loses much in this precision; measure it "
            f"with --validation and --max-drop before use, or stay with FP32"
        )
    return (*notes, *apart_notes(found))


def apart_notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether the boxes or the scores of common answers moved too far; each by itself."""
    notes = []
    overlap, gap = found.get("box_iou"), found.get("score_gap")
    if overlap is not None and overlap < _LOW_IOU:
        notes.append(
            f"boxes moved: those that both files find overlap by {overlap:.2f} only (mean IoU; "
            f"{_LOW_IOU} and more is usual), while classes agree"
        )
    if gap is not None and gap > _MUCH_SCORE:
        notes.append(
            f"scores moved: those of common answers are {gap:.2f} apart on average "
            f"({_MUCH_SCORE} and less is usual), so thresholds mean something else now"
        )
    return tuple(notes)


def pairs(wanted: Detections, got: Detections) -> list[tuple[int, int, float]]:
    """Detections of the same class that lie over each other, one to one: positions and IoU."""
    overlaps = iou_matrix(wanted.boxes_xyxy, got.boxes_xyxy)
    overlaps *= wanted.class_ids[:, None] == got.class_ids[None, :]
    free = np.ones(len(got), bool)
    found = []
    for at, row in enumerate(overlaps):
        usable = np.where(free, row, -1.0)
        if usable.size and usable.max() >= _IOU:
            other = int(usable.argmax())
            free[other] = False
            found.append((at, other, float(usable[other])))
    return found
