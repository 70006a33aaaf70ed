"""Run a model over labelled data and compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from edgeinfer.datasets import ClassTruth, Dataset, UserMetric
from edgeinfer.errors import EdgeInferError, SpecError
from edgeinfer.evaluate.answers import Predicts, answers
from edgeinfer.evaluate.collectors import COLLECTORS, HEADLINES
from edgeinfer.evaluate.fit import check_class, check_fit
from edgeinfer.records import dataclass
from edgeinfer.results import finite

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on a dataset.

    Attributes:
        task: of the model.
        n: number of samples; as a user's metric counted them, 0 where it did not.
        metrics: by name, NaN where one does not exist. Of boxes, masks and turned boxes ``map50``,
            ``map50_95``, ``precision`` and ``recall`` at the operating threshold; of keypoints
            ``oks_map``; ``top1``, ``top5``; ``miou``, ``pixel_accuracy``; ``char_accuracy``,
            ``cer``, ``exact``; ``auroc``, ``ap``; ``r2``, ``mae``, ``rmse``; or a user's own.
        dataset: its name, with the split.
        per_class: ``map50`` (or the intersection over union of pixels) by label.
        notes: what a reader of the figures must know.
        main: the headline, where it is another than the task's.
    """

    task: str
    n: int
    metrics: Mapping[str, float]
    dataset: str
    per_class: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    main: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `validate`; a figure that does not exist is null."""
        document: dict[str, Any] = {
            "task": self.task,
            "n": self.n,
            "metrics": dict(self.metrics),
            "headline": self.headline,
            "dataset": self.dataset,
            "per_class": dict(self.per_class),
            "notes": list(self.notes),
        }
        clean: dict[str, Any] = finite(document)[0]
        return clean

    @property
    def headline(self) -> str:
        """The metric that stands for the task, larger is better; of a user's metrics the first."""
        return self.main or HEADLINES.get(self.task) or next(iter(self.metrics))


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
    if isinstance(dataset, UserMetric):
        return _by_user(model, dataset, progress)
    class_count = getattr(model, "class_count", None)
    to_model, notes = check_fit(model.spec, dataset, class_count)
    collector = COLLECTORS[dataset.task](to_model, operating_score)
    count = 0
    for sample, result in answers(model, dataset):
        if isinstance(sample.truth, ClassTruth) and to_model is None:
            check_class(sample.truth.class_id, sample.name, model.spec, class_count)
        collector.add(result, sample)
        count += 1
        if progress is not None:
            progress(count, len(dataset))
    metrics, per_class = collector.figures(model.spec.labels)
    return Evaluation(
        task=model.spec.task,
        n=count,
        metrics=metrics,
        dataset=dataset.name,
        per_class=per_class,
        notes=(*notes, *collector.notes(model.spec)),
        main=HEADLINES[dataset.task],
    )


def _by_user(model: Predicts, metric: UserMetric, progress: Progress | None) -> Evaluation:
    """What a user's callable says of a model.

    Raises:
        SpecError: if it fails, or gives anything but names and numbers.
    """
    counted = 0

    def count(done: int, total: int) -> None:
        nonlocal counted
        counted = done
        if progress is not None:
            progress(done, total)

    try:
        # It gets the model with its own thresholds, however other metrics want to see it.
        given = metric.measure(getattr(model, "model", model), count)
    except EdgeInferError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise SpecError(f"{metric.name} failed: {type(error).__name__}: {error}.") from error
    numbers = (int, float, np.integer, np.floating)
    if not isinstance(given, Mapping) or not given:
        raise SpecError(f"{metric.name} gave {given!r}, not a mapping of metric name to number.")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, numbers) or isinstance(value, bool):
            raise SpecError(f"{metric.name} gave {name!r}: {value!r}, not a name and a number.")
    metrics = {name: float(value) for name, value in given.items()}
    first = next(iter(metrics))
    return Evaluation(model.spec.task, counted, metrics, metric.name, main=first)
