"""export(): from a trained model to a verified ONNX file, step by step."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeinfer.artifact import precision_of
from edgeinfer.datasets import Dataset, open_dataset
from edgeinfer.errors import UsageError
from edgeinfer.evaluate import check_fit
from edgeinfer.files import atomic_path, check_writable
from edgeinfer.spec import ModelSpec
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import (
    ArrayCalibration,
    PictureCalibration,
    RandomInputs,
    open_calibration,
)
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.quantize.static import quantize
from edgeinfer_export.result import Exported
from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.steps.accuracy import check_drop, measure
from edgeinfer_export.steps.agreement import agreement, agreement_notes
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.precision import check_fp32_source
from edgeinfer_export.steps.stamp import stamp
from edgeinfer_export.steps.verify import check_fp32, parity

if TYPE_CHECKING:
    import onnx

# The step's name, how much of it is done, how much there is.
Progress = Callable[[str, int, int], None]


def export(
    source: str | Path,
    output: str | Path,
    *,
    precision: str = "fp32",
    target: str = "x86-any",
    calibration: str | Path | None = None,
    calibration_method: str = "minmax",
    validation: str | Path | None = None,
    max_drop: float | None = None,
    framework: str = "auto",
    entry: str | None = None,
    weights: str | Path | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] = MappingProxyType({}),
    trust_pickle: bool = False,
    spec: ModelSpec | str | Path | None = None,
    task: str | None = None,
    head: str | None = None,
    labels: str | Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Exported:
    """Turn a trained model into an ONNX file that carries its spec, and prove that it still works.

    The file appears whole, or not at all: an older one at the same path stays until then. The
    same source, options and data give the same bytes.

    Args:
        source: the trained model.
        output: where the ONNX file goes.
        precision, target, calibration, calibration_method, validation, max_drop, framework, entry,
            weights, input_shapes, trust_pickle, spec, task, head, labels: see `ExportOptions`.
        progress: called with the step's name, what is done and what there is to do.
        say: told what takes long before there are steps: an environment that is built, say.

    Raises:
        UsageError: for unknown names, INT8 without calibration data, or output equal to source.
        ModelFileError: if the source cannot be read or quantized.
        SpecError: if what the model means is unknown or ambiguous.
        SourceError: if calibration or validation data cannot be read.
        SinkError: if the output cannot be written.
        CheckFailed: if the new file answers differently: nothing is written then.
    """
    options = ExportOptions(
        precision=precision,
        target=target,
        framework=framework,
        entry=entry,
        weights=_path(weights),
        input_shapes={name: tuple(shape) for name, shape in input_shapes.items()},
        trust_pickle=trust_pickle,
        calibration=_path(calibration),
        calibration_method=calibration_method,
        validation=None if validation is None else str(validation),
        max_drop=max_drop,
        spec=spec if isinstance(spec, ModelSpec) else _path(spec),
        task=task,
        head=head,
        labels=_path(labels),
    )
    return run_export(Path(source), Path(output), options, progress, say)


def run_export(
    source: Path,
    output: Path,
    options: ExportOptions,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Exported:
    """`export` with its options in one value; the same errors."""
    _check_paths(source, output)
    tell = progress or _silent
    tell("read", 0, 1)
    with tempfile.TemporaryDirectory(prefix="edgeinfer-export-") as folder:
        request = Request(
            path=source,
            folder=Path(folder),
            weights=options.weights,
            entry=options.entry,
            input_shapes=options.input_shapes,
            trust_pickle=options.trust_pickle,
            say=say or _mute,
        )
        opened = open_source_model(request, options.framework)
        return _export(source, output, opened, options, tell)


def _export(
    source: Path, output: Path, opened: SourceModel, options: ExportOptions, tell: Progress
) -> Exported:
    precision = options.precision
    if precision == "fp32" and precision_of(opened.model) == "int8":
        precision = "int8"  # what is quantized already stays what it is
    else:
        check_fp32_source(opened.model)
    found = spec_of(opened, options)
    model = clean(opened.model)
    job = _Job(opened, options, found, model, tell, _inputs(model, found, options), _data(options))
    job.check_data()
    made, kept = job.make()
    target = options.target if options.precision == "int8" else None
    spec = dataclasses.replace(
        found, source_sha256=opened.sha256, precision=precision, target=target
    )
    stamp(made, spec)
    data = made.SerializeToString(deterministic=True)
    with atomic_path(output) as temp:
        temp.write_bytes(data)
        figures, metric, notes = job.prove(temp)
    tell("write", 1, 1)
    return Exported(
        output=output,
        sha256=hashlib.sha256(data).hexdigest(),
        precision=precision,
        target=target,
        spec=spec,
        parity=figures,
        metric=metric,
        kept_float=kept,
        variants=({"role": "source", "path": str(source), "sha256": opened.sha256},),
        notes=(*opened.notes, *found.notes, *job.data.notes, *notes),
    )


Inputs = PictureCalibration | ArrayCalibration | RandomInputs


@dataclass(frozen=True, eq=False)
class _Job:
    """One export between reading and writing."""

    source: SourceModel
    options: ExportOptions
    spec: ModelSpec
    model: onnx.ModelProto
    tell: Progress
    data: Inputs
    dataset: Dataset | None

    def check_data(self) -> None:
        """Refuse validation data that do not fit before long work starts."""
        if self.dataset is not None:
            check_fit(self.spec, self.dataset)

    def make(self) -> tuple[onnx.ModelProto, tuple[str, ...]]:
        """The new graph, and the nodes that stayed in float by intent."""
        if self.options.precision == "fp32":
            return self.model, ()
        # Inputs that the model does not take are told here in the user's words, before the
        # calibrator meets them.
        Session(self.source.path).run(self.data.inputs(0))
        quantized = quantize(
            self.model,
            self.data,
            target=self.options.target,
            method=self.options.calibration_method,
            keep_last=self.spec.task != "classify",
            progress=lambda done, total: self.tell("calibrate", done, total),
        )
        return quantized.model, quantized.kept_float

    def prove(self, made: Path) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
        """Parity, metric before and after, and notes."""
        import onnx

        self.tell("compare", 0, 1)
        figures = parity(self.source.reference or Session(self.source.path), made, self.data)
        if self.options.precision == "fp32":
            check_fp32(figures, self.source.tolerance)
        metric: dict[str, Mapping[str, float]] = {"before": {}, "after": {}}
        notes: tuple[str, ...] = ()
        if self.options.precision == "fp32" and self.dataset is None:
            return figures, metric, notes
        with tempfile.TemporaryDirectory(prefix="edgeinfer-export-") as folder:
            reference = self._openable(Path(folder) / "source.onnx", self.source.model)
            other = self._openable(Path(folder) / "output.onnx", onnx.load(str(made)))
            if self.options.precision != "fp32" and isinstance(self.data, PictureCalibration):
                figures["agreement"] = agreement(reference, other, self.data)
                notes = agreement_notes(figures["agreement"])
            if self.dataset is not None:
                metric, more = self._measure(reference, other, self.dataset)
                notes += more
        return figures, metric, notes

    def _openable(self, path: Path, model: onnx.ModelProto) -> Path:
        """Write a copy that this box opens, whatever kind of box the output is for."""
        copy = clean(model)
        stamp(copy, dataclasses.replace(self.spec, target=None))
        path.write_bytes(copy.SerializeToString(deterministic=True))
        return path

    def _measure(
        self, reference: Path, made: Path, dataset: Dataset
    ) -> tuple[dict[str, Mapping[str, float]], tuple[str, ...]]:
        before = measure(reference, dataset, lambda d, t: self.tell("validate source", d, t))
        after = measure(made, dataset, lambda d, t: self.tell("validate output", d, t))
        if self.options.max_drop is not None:
            check_drop(before, after, self.options.max_drop)
        return {"before": before.metrics, "after": after.metrics}, after.notes


def _inputs(model: onnx.ModelProto, spec: ModelSpec, options: ExportOptions) -> Inputs:
    """What calibration and comparison feed."""
    tensors = tuple(tensor_spec(value) for value in model.graph.input)
    if options.calibration is None:
        return RandomInputs(tensors, spec)
    return open_calibration(options.calibration, spec, tensors)


def _data(options: ExportOptions) -> Dataset | None:
    return None if options.validation is None else open_dataset(options.validation)


def _check_paths(source: Path, output: Path) -> None:
    """Refuse what cannot work before long work starts."""
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"The output is named {output.name}; give it a name that ends in .onnx.")
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(
            f"The output {output} is the source itself: give it another name; the source stays "
            f"the reference."
        )
    check_writable(output)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _mute(text: str) -> None:
    """What is told to a caller who wants nothing told."""


def _silent(step: str, done: int, total: int) -> None:
    """The progress of a caller who wants none."""
