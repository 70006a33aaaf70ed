"""The task metric of a model over labelled data: `validate`, `tune` and the accuracy gate share it.

For average precision a model must show its weak detections too: load it with a score threshold of
`SCORE_FLOOR` and `DETECTION_LIMIT` detections, as the published figures of detectors are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeinfer.datasets import BoxTruth, ClassTruth, Dataset, Sample
from edgeinfer.errors import SpecError, UsageError
from edgeinfer.frames import Array
from edgeinfer.metrics import ClassificationMetric, DetectionMetric
from edgeinfer.results import Classes, Detections, Payload, Result, finite
from edgeinfer.spec import ModelSpec

# What Ultralytics' and most papers' validation runs use.
SCORE_FLOOR = 0.001
DETECTION_LIMIT = 300

Progress = Callable[[int, int], None]


class Predicts(Protocol):
    """A model that answers frames; `edgeinfer.model.Model` is one."""

    @property
    def spec(self) -> ModelSpec: ...

    def __call__(self, frame: Array, /) -> Result[Payload]: ...


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on a dataset.

    Attributes:
        task: ``detect`` or ``classify``.
        n: number of pictures.
        metrics: ``map50``, ``map50_95``, ``precision`` and ``recall`` at the operating threshold;
            or ``top1``, ``top5``. Shares in [0, 1], NaN where they do not exist.
        dataset: its name, with the split.
        per_class: ``map50`` by label, for detectors.
        notes: what a reader of the figures must know.
    """

    task: str
    n: int
    metrics: Mapping[str, float]
    dataset: str
    per_class: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `validate`; a figure that does not exist is null."""
        document: dict[str, Any] = {
            "task": self.task,
            "n": self.n,
            "metrics": dict(self.metrics),
            "dataset": self.dataset,
            "per_class": dict(self.per_class),
            "notes": list(self.notes),
        }
        clean: dict[str, Any] = finite(document)[0]
        return clean

    @property
    def headline(self) -> str:
        """The metric that stands for the task: ``map50_95`` or ``top1``."""
        return "map50_95" if self.task == "detect" else "top1"


def evaluate(
    model: Predicts,
    dataset: Dataset,
    *,
    operating_score: float = 0.25,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a model over a dataset and compare with the truth.

    Args:
        model: answers `(H, W, 3)` uint8 BGR pictures; see the module about its thresholds.
        dataset: of the model's task.
        operating_score: threshold at which precision and recall are stated.
        progress: called with pictures done and in all.

    Raises:
        UsageError: if model and dataset have different tasks, or the task has no metric here.
        SpecError: if the classes of dataset and model do not fit each other.
        SourceError: if a picture or label cannot be read.
    """
    to_model, notes = check_fit(model.spec, dataset, getattr(model, "class_count", None))
    collector = _COLLECTORS[dataset.task](to_model, operating_score)
    count = 0
    for sample in dataset:
        collector.add(model(sample.picture), sample)
        count += 1
        if progress is not None:
            progress(count, len(dataset))
    metrics, per_class = collector.figures(model.spec.labels)
    return Evaluation(
        task=dataset.task,
        n=count,
        metrics=metrics,
        dataset=dataset.name,
        per_class=per_class,
        notes=(*notes, *collector.notes(model.spec)),
    )


def check_fit(
    spec: ModelSpec, dataset: Dataset, class_count: int | None = None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Whether a dataset can judge a model; see `match_labels` for what is returned.

    Raises:
        UsageError: if model and dataset have different tasks, or the task has no metric here.
        SpecError: if the classes of dataset and model do not fit each other.
    """
    if spec.task != dataset.task:
        raise UsageError(
            f"The model's task is '{spec.task}', the dataset {dataset.name} is for "
            f"'{dataset.task}': give data of the model's task, or correct it with --task."
        )
    if dataset.task not in _COLLECTORS:
        raise UsageError(
            f"There is no metric for the task '{dataset.task}' here; known: "
            f"{', '.join(_COLLECTORS)}."
        )
    if not spec.labels and dataset.labels and class_count not in (None, len(dataset.labels)):
        raise SpecError(
            f"The model tells {class_count} classes apart and carries no labels; the dataset has "
            f"{len(dataset.labels)} classes: say which is which with --labels FILE."
        )
    return match_labels(dataset.labels, spec.labels, dataset.task)


def match_labels(
    ours: Sequence[str], models: Sequence[str], task: str
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Which class of the model each class of the dataset is.

    The same names in another order are matched by name; lists that agree at most places are the
    same list in another spelling (COCO's `motorcycle` is Darknet's `motorbike`). Data for
    classification may hold fewer classes than the model knows; for detection that would count
    right answers as false ones.

    Args:
        ours: the dataset's labels, empty where it holds numbers only.
        models: the model's labels, empty where unknown.
        task: ``detect`` or ``classify``.

    Returns:
        `(C,)` class ids of the model, None where the numbers mean the same; and notes.

    Raises:
        SpecError: if they do not fit, showing both.
    """
    if not ours or tuple(ours) == tuple(models):
        return None, ()
    if not models:
        note = "the model carries no labels; classes are taken to be numbered as in the dataset"
        return None, (note,)
    wanted = [_plain(label) for label in ours]
    known = {_plain(label): position for position, label in enumerate(models)}
    missing = [label for label, plain in zip(ours, wanted, strict=True) if plain not in known]
    if missing and _same_list(wanted, [_plain(label) for label in models]):
        note = f"some classes are spelled in another way ({_listed(missing)}); taken by number"
        return None, (note,)
    partial = len(set(wanted)) < len(known)
    if missing or (partial and task != "classify") or len(set(wanted)) < len(wanted):
        raise SpecError(
            f"The dataset's {len(ours)} classes ({_listed(ours)}) are not the model's "
            f"{len(models)} ({_listed(models)})"
            + (f"; the model does not know {_listed(missing)}" if missing else "")
            + ". Give the model's names with --labels FILE (the data.yaml will do, where only "
            "the spelling differs), or a dataset with its classes."
        )
    return np.array([known[plain] for plain in wanted], np.int64), ()


def _same_list(wanted: Sequence[str], known: Sequence[str]) -> bool:
    if len(wanted) != len(known):
        return False
    agreeing = sum(a == b for a, b in zip(wanted, known, strict=True))
    return agreeing >= 0.75 * len(known)


def _plain(label: str) -> str:
    """Folder names cannot hold every character: `fire_hydrant` is `Fire hydrant`."""
    return " ".join(label.replace("_", " ").replace("-", " ").casefold().split())


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:6])
    return shown + (", ..." if len(labels) > 6 else "")


class _Collector(Protocol):
    def add(self, result: Result[Payload], sample: Sample) -> None: ...
    def figures(self, labels: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]: ...
    def notes(self, spec: ModelSpec) -> tuple[str, ...]: ...


class _Detect:
    def __init__(self, to_model: NDArray[np.int64] | None, operating_score: float) -> None:
        self._to_model = to_model
        self._metric = DetectionMetric(operating_score)

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Detections) and isinstance(truth, BoxTruth)
        ids = truth.class_ids if self._to_model is None else self._to_model[truth.class_ids]
        self._metric.add(value.boxes_xyxy, value.scores, value.class_ids, truth.boxes_xyxy, ids)

    def figures(self, labels: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
        scores = self._metric.result()
        names = dict(enumerate(labels))
        return {
            "map50": scores.map50,
            "map50_95": scores.map50_95,
            "precision": scores.precision,
            "recall": scores.recall,
        }, {names.get(key, str(key)): value for key, value in scores.per_class.items()}

    def notes(self, spec: ModelSpec) -> tuple[str, ...]:
        floor = spec.thresholds.get("score", math.nan)
        if floor <= 0.01 or math.isnan(floor):
            return ()
        return (
            f"the model showed only detections with a score of {floor:g} or more, so its average "
            f"precision is understated; load it with a score threshold of {SCORE_FLOOR:g}",
        )


class _Classify:
    def __init__(self, to_model: NDArray[np.int64] | None, operating_score: float) -> None:
        self._to_model = to_model
        self._metric = ClassificationMetric()

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Classes) and isinstance(truth, ClassTruth)
        right = truth.class_id if self._to_model is None else int(self._to_model[truth.class_id])
        self._metric.add(value.class_ids, value.scores, right)

    def figures(self, labels: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
        scores = self._metric.result()
        return {"top1": scores.top1, "top5": scores.top5}, {}

    def notes(self, spec: ModelSpec) -> tuple[str, ...]:
        return ()


_COLLECTORS: Mapping[str, Callable[[NDArray[np.int64] | None, float], _Collector]] = {
    "detect": _Detect,
    "classify": _Classify,
}
