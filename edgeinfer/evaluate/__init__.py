"""The task metric of a model over labelled data: `validate`, `tune` and the accuracy gate share it.

For average precision a model must show its weak detections too, as the published figures of
detectors are made: load it with a score threshold of `SCORE_FLOOR` and `DETECTION_LIMIT`
detections, or wrap it with `showing_weak`.
"""

from __future__ import annotations

from edgeinfer.evaluate.answers import Predicts
from edgeinfer.evaluate.collectors import SCORE_FLOOR
from edgeinfer.evaluate.feed import fed
from edgeinfer.evaluate.fit import check_fit, match_labels
from edgeinfer.evaluate.lost import change_text, loss, lower_is_better
from edgeinfer.evaluate.run import Evaluation, Progress, evaluate
from edgeinfer.evaluate.weak import DETECTION_LIMIT, showing_weak

__all__ = [
    "DETECTION_LIMIT",
    "SCORE_FLOOR",
    "Evaluation",
    "Predicts",
    "Progress",
    "change_text",
    "check_fit",
    "evaluate",
    "fed",
    "loss",
    "lower_is_better",
    "match_labels",
    "showing_weak",
]
