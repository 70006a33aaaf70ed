"""A model as its average precision is measured: weak detections are shown, too."""

from __future__ import annotations

import dataclasses

from edgeinfer.evaluate.collectors import SCORE_FLOOR
from edgeinfer.frames import Array, Arrays, Frame, frame_from_array
from edgeinfer.heads import BOX_TASKS
from edgeinfer.model import Lane, Model
from edgeinfer.plan import Plan
from edgeinfer.results import Payload, Result
from edgeinfer.spec import ModelSpec, TensorSpec

DETECTION_LIMIT = 300


class _Weak:
    """Reads a model's outputs with thresholds of its own."""

    def __init__(self, model: Model, spec: ModelSpec) -> None:
        self.spec = spec
        self.model = model
        self._lane: Lane | None = None

    @property
    def plan(self) -> Plan:
        return self.model.plan

    def lane(self) -> Lane:
        return self.model.lane(self.spec)

    @property
    def class_count(self) -> int | None:
        return self.model.class_count

    @property
    def fed_inputs(self) -> tuple[TensorSpec, ...]:
        return self.model.fed_inputs

    def __call__(self, frame: Frame | Array | Arrays, /) -> Result[Payload]:
        if self._lane is None:
            self._lane = self.lane()
        return self._lane.predict(frame if isinstance(frame, Frame) else frame_from_array(frame))


def showing_weak(
    model: Model, score: float | None = None, max_detections: int | None = None
) -> Model | _Weak:
    """The model, with the thresholds that average precision wants where its task has boxes.

    Args:
        score, max_detections: what the user said, None for `SCORE_FLOOR` and `DETECTION_LIMIT`.
    """
    if model.spec.task not in BOX_TASKS:
        return model
    thresholds = {
        **model.spec.thresholds,
        "score": SCORE_FLOOR if score is None else score,
        "max_detections": float(max_detections or DETECTION_LIMIT),
    }
    return _Weak(model, dataclasses.replace(model.spec, thresholds=thresholds))
