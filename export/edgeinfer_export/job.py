"""One export between reading the source and writing the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.datasets import Dataset, UserMetric
from edgeinfer.errors import EdgeInferError
from edgeinfer.evaluate import check_fit
from edgeinfer.golden import golden_path, pack
from edgeinfer.machine import this_machine
from edgeinfer.model import why_unfit
from edgeinfer.spec import ModelSpec
from edgeinfer_export.gate.base import Judge, KeptFloat, Narrower
from edgeinfer_export.gate.judges import AgreementJudge, LabelJudge, NumberJudge
from edgeinfer_export.gate.search import Found, Search
from edgeinfer_export.gate.speed import provider_for, time_variants, why_untimed
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import (
    ArrayCalibration,
    PictureCalibration,
    RandomInputs,
)
from edgeinfer_export.quantize.lint import lint
from edgeinfer_export.quantize.narrowers import narrowers
from edgeinfer_export.quantize.recurrent import recurrent_left, recurrent_notes
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel
from edgeinfer_export.steps.accuracy import check_drop, check_not_blind, measure
from edgeinfer_export.steps.agreement import agreement, agreement_notes, can_agree
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.fields import check_fields
from edgeinfer_export.steps.golden import golden_vectors
from edgeinfer_export.steps.openable import write_openable
from edgeinfer_export.steps.verify import check_fp32, parity, parity_notes

if TYPE_CHECKING:
    import onnx

# The step's name, how much of it is done, how much there is.
Progress = Callable[[str, int, int], None]
Inputs = PictureCalibration | ArrayCalibration | RandomInputs
_PICTURES, _PICTURES_BESIDE_LABELS = 64, 12


@dataclass(frozen=True, eq=False)
class Made:
    """A new graph.

    Attributes:
        model: the graph.
        kept: what stayed in float, and why.
        found: what the accuracy gate found, None where there was none.
        gate: the same for reports.
        notes: for people.
    """

    model: onnx.ModelProto
    kept: tuple[KeptFloat, ...] = ()
    found: Found | None = None
    gate: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What was measured of a new file: see `Exported`."""

    parity: dict[str, Any]
    metric: Mapping[str, Mapping[str, float]]
    speed: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def speed_of(self, role: str) -> dict[str, Any]:
        """Median frame latency of a variant, in the words of `Exported.variants`."""
        return {"p50_ns": self.speed.get("p50_ns", {}).get(role)}


def too_few(count: int, allowed: float) -> tuple[str, ...]:
    """What to tell where so many samples cannot show a loss as small as the budget.

    Args:
        count: of samples; 0 where a user's metric counts them by itself.
    """
    if not count or not allowed or count * allowed >= 1:
        return ()
    return (
        f"{count} samples cannot carry a budget of {allowed:.2%}, since one of them is "
        f"{1 / count:.2%}: the search for what stays in float follows chance; give at least "
        f"{math.ceil(1 / allowed)}",
    )


@dataclass(frozen=True, eq=False)
class Job:
    """An export whose source was read.

    Attributes:
        spec: what the source means.
        model: the source, clean.
        data: what calibration and comparison feed.
        dataset: labelled data, None where there are none.
        folder: for files that are needed until the end.
    """

    source: SourceModel
    options: ExportOptions
    spec: ModelSpec
    model: onnx.ModelProto
    tell: Progress
    data: Inputs
    dataset: Dataset | None
    folder: Path

    def check_data(self) -> None:
        """Refuse validation data that do not fit before long work starts."""
        if self.dataset is not None and not isinstance(self.dataset, UserMetric):
            check_fit(self.spec, self.dataset)

    def make(self) -> Made:
        """The new graph, within the budget where there is one.

        Raises:
            CheckFailed: if no graph keeps the budget.
        """
        if self.options.precision == "fp32":
            return Made(self.model)
        # Inputs that the model does not take are told here in the user's words, before the
        # calibrator meets them.
        Session(self.source.path).run(self.data.inputs(0))
        notes: tuple[str, ...] = ()
        if self.options.calibration is not None:
            notes = lint(self.data, self.spec, self._reference, self.dataset)
        writers, more = narrowers(
            self.model,
            self.data,
            self.options,
            keep_last=self.spec.task != "classify",
            progress=lambda done, total: self.tell("calibrate", done, total),
        )
        head = self._kept_always(writers[0])
        more += recurrent_notes(writers[0].model, self.options.precision)
        if self.options.max_drop is None:
            return Made(writers[0].build(), head, notes=(*notes, *more))
        judge, allowed = self._judge, self.options.max_drop
        notes += too_few(len(self.data if self.dataset is None else self.dataset), allowed)
        found = Search(writers, judge, allowed, self.data, self.tell).run()
        gate = {
            "metric": judge.metric,
            "before": judge.before.value,
            "after": found.verdict.value,
            "loss": found.loss,
            "allowed": allowed,
            "attempts": [attempt.to_dict() for attempt in found.attempts],
        }
        return Made(found.model, (*head, *found.kept), found, gate, (*notes, *more))

    def _kept_always(self, writer: Narrower) -> tuple[KeptFloat, ...]:
        """What stays in float whatever the budget."""
        recurrent = recurrent_left(writer.model, self.options.precision)
        head = tuple(name for name in writer.head if name not in recurrent)
        why = "overflow" if self.options.precision == "fp16" else "head"
        kinds = ((head, why), (recurrent, "recurrent"))
        return tuple(KeptFloat(nodes[0], nodes, reason) for nodes, reason in kinds if nodes)

    def prove(self, file: Path, made: Made) -> Proof:
        """Parity, metric before and after, speed.

        Raises:
            CheckFailed: if the new file answers otherwise than the source.
        """
        self.tell("compare", 0, 1)
        figures = parity(self.source.reference or Session(self.source.path), file, self.data)
        narrowed = self.options.precision != "fp32"
        if not narrowed:
            check_fp32(figures, self.source.tolerance)
        told = self._unproven() + self._saturated() + parity_notes(figures)
        other = self.openable(made.model, "output.onnx", base=file.parent)
        if isinstance(self.data, PictureCalibration) and can_agree(self.spec.task):
            # Labels say more than agreement: then a few pictures are enough for boxes and scores.
            most = _PICTURES if self.dataset is None else _PICTURES_BESIDE_LABELS
            figures["agreement"] = agreement(self._reference, other, self.data, most)
            told += agreement_notes(figures["agreement"])
        if narrowed:
            # After agreement, which tells in the user's words what it sees.
            check_fields(self.source.path, other, self.data)
        metric, notes = self._metric(made, other)
        if not narrowed:
            return Proof(figures, metric, notes=(*told, *notes))
        speed, more = self._speed(other)
        return Proof(figures, metric, speed, (*told, *notes, *more))

    def told_of_steps(
        self, model: onnx.ModelProto, spec: ModelSpec, base: Path, found: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """What is to be told of preprocessing or NMS in the graph.

        Args:
            model: with them. spec: its.
            base: the folder that its tensors in other files are relative to.
            found: what `check_embedded` gave.
        """
        notes: tuple[str, ...] = ()
        if not found["answers"]:
            notes = (
                f"nothing was seen on the {found['pictures']} inputs that compared the graph with "
                f"and without the steps in it, which proves little: give typical pictures with "
                f"--calibration",
            )
        if self.dataset is None or not self.options.embed_nms:
            return notes
        path = self.openable(model, "measured.onnx", spec=spec, base=base)
        told = measure(path, self.dataset, lambda d, t: self.tell("validate with NMS", d, t))
        value = told.metrics[told.headline]
        return (
            *notes,
            f"with NMS in the graph {told.headline} is {_figure(value)}, as nothing below the "
            f"thresholds of the spec comes out any more; before and after are measured without it",
        )

    def with_golden(
        self, made: onnx.ModelProto, spec: ModelSpec, sha256: str, files: tuple[Path, ...]
    ) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """The files with golden vectors before them, and what is to be told of these."""
        if not self.options.golden:
            return files, ()
        path = files[-1]
        if spec.target is not None:
            path = self.openable(made, "golden.onnx", spec=spec, base=path.parent)
        golden, notes = golden_vectors(path, spec, self.data, sha256)
        if golden is None:
            return files, notes
        vectors = golden_path(files[-1])
        vectors.write_bytes(pack(golden))
        return (vectors, *files), notes

    def openable(
        self,
        model: onnx.ModelProto,
        name: str,
        *,
        spec: ModelSpec | None = None,
        base: Path | None = None,
    ) -> Path:
        """Write a copy that this box opens, whatever kind of box the output is for.

        Args:
            name: of the file, in the job's folder.
            spec: what it means, where that is not what the source means.
            base: the folder that tensors in other files are relative to; None for the source's.
        """
        place = self.folder / name
        return write_openable(
            clean(model), spec or self.spec, place, base or self.source.path.parent
        )

    @cached_property
    def _reference(self) -> Path:
        return self.openable(self.source.model, "reference.onnx")

    @cached_property
    def _judge(self) -> Judge:
        """What the budget is about."""
        model = self.source.model
        if self.dataset is not None:
            return LabelJudge(model, self.dataset, self.openable, self.tell)
        if isinstance(self.data, PictureCalibration) and can_agree(self.spec.task):
            return AgreementJudge(model, self.data, self.openable)
        classes = self.spec.task == "classify"
        return NumberJudge(model, self.data, self.openable, classes=classes)

    def _unproven(self) -> tuple[str, ...]:
        if self.source.reference is not None:
            return ()
        return (
            "nothing here runs the source itself, so parity was measured against the graph as it "
            "was converted",
        )

    def _metric(
        self, made: Made, other: Path
    ) -> tuple[dict[str, Mapping[str, float]], tuple[str, ...]]:
        """The task metric before and after, and notes."""
        if made.found is not None:
            verdict = made.found.verdict
            before = self._judge.before.figures
            return {"before": before, "after": verdict.figures}, verdict.notes
        if self.dataset is None:
            return {"before": {}, "after": {}}, ()
        data = self.dataset
        old = measure(self._reference, data, lambda d, t: self.tell("validate source", d, t))
        new = measure(other, data, lambda d, t: self.tell("validate output", d, t))
        check_not_blind(old, new)
        if self.options.max_drop is not None:
            check_drop(old, new, self.options.max_drop)
        return {"before": old.metrics, "after": new.metrics}, new.notes

    def _saturated(self) -> tuple[str, ...]:
        """Whether this processor computes something else than the box that the file is for."""
        if self.options.int8_target != "x86-vnni":
            return ()
        why = why_unfit(self.options.int8_target, "cpu", this_machine())
        if why is None:
            return ()
        return (f"accuracy was measured on this box, where it may be lower than with VNNI: {why}",)

    def _speed(self, other: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Frame latency of source and output in turns, and what it recommends."""
        target = self.options.int8_target
        why = why_untimed(target)
        if why is None:
            self.tell("time", 0, 1)
            try:
                speed = time_variants(self._reference, other, self.data, provider_for(target))
            except EdgeInferError as error:
                why = str(error)
            else:
                return speed.to_dict(), speed.notes(self.options.precision)
        return {}, (f"not timed beside the source here: {why}",)


def _figure(value: float | None) -> str:
    return "no number" if value is None else f"{value:.4f}"
