"""How good a graph is: by labels, by agreement with the source on pictures, by its numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.datasets import Dataset
from edgeinfer.errors import CheckFailed
from edgeinfer.evaluate import Evaluation, loss
from edgeinfer.frames import Array
from edgeinfer_export.gate.base import Verdict
from edgeinfer_export.gate.budget import check_metric
from edgeinfer_export.quantize.calibration import Calibration, PictureCalibration
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.steps.accuracy import measure
from edgeinfer_export.steps.agreement import Seen, answers, apart_notes, blind, compare
from edgeinfer_export.steps.verify import sample_numbers

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str, int, int], None]
# Writes a graph as a file that this box opens.
Write = Callable[["onnx.ModelProto", str], Path]

_MOST_SAMPLES = 32


class LabelJudge:
    """The task metric on labelled data."""

    def __init__(self, source: onnx.ModelProto, dataset: Dataset, write: Write, tell: Progress):
        self._write, self._dataset, self._tell = write, dataset, tell
        path = write(source, "source.onnx")
        self.evaluation = measure(path, dataset, lambda d, t: tell("validate source", d, t))
        self.last = self.evaluation

    @property
    def headline(self) -> str:
        return self.evaluation.headline

    @property
    def metric(self) -> str:
        return f"{self.headline} on {self.evaluation.dataset}"

    @property
    def before(self) -> Verdict:
        return self._verdict(self.evaluation)

    def judge(self, model: onnx.ModelProto) -> Verdict:
        path = self._write(model, "attempt.onnx")
        self.last = measure(path, self._dataset, lambda d, t: self._tell("validate output", d, t))
        return self._verdict(self.last)

    def loss(self, verdict: Verdict) -> float:
        check_metric(self.evaluation)
        return loss(self.before.value, verdict.value, self.headline)

    def _verdict(self, found: Evaluation) -> Verdict:
        value = found.metrics[found.headline]
        nothing = found is not self.evaluation and not value > 0 < self.before.value
        return Verdict(
            value,
            found.metrics,
            blind=f"reaches {found.headline} 0 on {found.dataset}" if nothing else None,
            notes=found.notes,
        )


class AgreementJudge:
    """The share of answers that a graph and the source have in common, on unlabelled pictures."""

    def __init__(self, source: onnx.ModelProto, pictures: PictureCalibration, write: Write):
        self._write, self._pictures = write, pictures
        seen = answers(write(source, "source.onnx"), pictures)
        assert seen is not None
        self._wanted: list[Seen] = seen
        if not any(len(one) for one in seen):
            raise CheckFailed(
                f"The source sees nothing on the {len(seen)} calibration pictures: nobody can tell "
                f"what a smaller file would lose. Calibrate on pictures with objects on them, or "
                f"give labelled data with --validation."
            )

    @property
    def metric(self) -> str:
        return f"agreement with the source on {len(self._wanted)} calibration pictures"

    @property
    def before(self) -> Verdict:
        return Verdict(1.0, {"agreement": 1.0})

    def judge(self, model: onnx.ModelProto) -> Verdict:
        got = answers(self._write(model, "attempt.onnx"), self._pictures)
        assert got is not None
        found = compare(self._wanted, got)
        value = found["agreement"] or 0.0
        figures = {"agreement": value}
        figures |= {
            name: found[name] for name in ("box_iou", "score_gap") if found[name] is not None
        }
        return Verdict(value, figures, blind(found), apart_notes(found))

    def loss(self, verdict: Verdict) -> float:
        return 1.0 - verdict.value


class NumberJudge:
    """How near a graph's outputs are to the source's, for tasks whose answers are numbers.

    For a classifier fed with arrays: the share of samples with the same best class. Else 1 minus
    the length of the difference over the length of the source's output, of the worst output.
    """

    def __init__(
        self, source: onnx.ModelProto, samples: Calibration, write: Write, *, classes: bool
    ):
        self._write, self._samples, self._classes = write, samples, classes
        self._numbers = sample_numbers(len(samples), _MOST_SAMPLES)
        self._wanted = self._run(write(source, "source.onnx"))

    @cached_property
    def metric(self) -> str:
        what = "share of equal best classes" if self._classes else "1 - relative error of outputs"
        return f"{what} on {len(self._numbers)} calibration samples"

    @property
    def before(self) -> Verdict:
        return Verdict(1.0, {"agreement": 1.0})

    def judge(self, model: onnx.ModelProto) -> Verdict:
        got = self._run(self._write(model, "attempt.onnx"))
        value = self._equal(got) if self._classes else self._near(got)
        return Verdict(value, {"agreement": value})

    def loss(self, verdict: Verdict) -> float:
        return 1.0 - verdict.value

    def _run(self, path: Path) -> list[dict[str, Array]]:
        session = Session(path)
        return [session.run(self._samples.inputs(number)) for number in self._numbers]

    def _equal(self, got: list[dict[str, Array]]) -> float:
        name = next(iter(self._wanted[0]))
        same = [
            float(np.mean(_classes_of(a[name]) == _classes_of(b[name])))
            for a, b in zip(self._wanted, got, strict=True)
        ]
        return float(np.mean(same))

    def _near(self, got: list[dict[str, Array]]) -> float:
        worst = 0.0
        for name in self._wanted[0]:
            if self._wanted[0][name].dtype.kind != "f":
                continue
            noise = sum(
                float(np.sum((np.float64(a[name]) - b[name]) ** 2))
                for a, b in zip(self._wanted, got, strict=True)
            )
            signal = sum(float(np.sum(np.float64(a[name]) ** 2)) for a in self._wanted)
            worst = max(worst, (noise / signal) ** 0.5 if signal > 0 else 0.0)
        return 1.0 - worst


def _classes_of(values: Array) -> Array:
    """The best class of each row of `[B, classes, 1...]` scores; class numbers as they are."""
    if values.dtype.kind in "iu":
        return values
    return np.asarray(values.reshape(len(values), -1).argmax(axis=1))
