"""export(): from a trained model to a verified ONNX file, step by step."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeinfer.artifact import open_model_file
from edgeinfer.blind import coarse_scores
from edgeinfer.datasets import Dataset, open_dataset
from edgeinfer.errors import UsageError
from edgeinfer.evaluate import check_fit
from edgeinfer.files import check_writable
from edgeinfer.golden import golden_path, pack
from edgeinfer.spec import ModelSpec
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import (
    ArrayCalibration,
    Calibration,
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
from edgeinfer_export.steps.clean import clean, opset_of
from edgeinfer_export.steps.embed import check_embeddable, check_embedded, embedded
from edgeinfer_export.steps.golden import golden_vectors
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.opset import fit_opset
from edgeinfer_export.steps.precision import kept_precision
from edgeinfer_export.steps.provenance import provenance_of
from edgeinfer_export.steps.simplify import same_answers, simplify
from edgeinfer_export.steps.staging import forget_older, publish, scratch, staged
from edgeinfer_export.steps.stamp import stamp
from edgeinfer_export.steps.verify import check_fp32, parity
from edgeinfer_export.steps.write import size_of, write_model

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
    embed_preprocess: bool = False,
    embed_nms: bool = False,
    golden: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Turn a trained model into an ONNX file that carries its spec, and prove that it still works.

    The file and its golden vectors appear whole, or not at all: older ones at the same path stay
    until then. The same source, options and data give the same bytes.

    Args:
        source: the trained model.
        output: where the ONNX file goes.
        precision, target, calibration, calibration_method, validation, max_drop, framework, entry,
            weights, input_shapes, trust_pickle, spec, task, head, labels, embed_preprocess,
            embed_nms, golden: see `ExportOptions`.
        progress: called with the step's name, what is done and what there is to do.

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
        embed_preprocess=embed_preprocess,
        embed_nms=embed_nms,
        golden=golden,
    )
    return run_export(Path(source), Path(output), options, progress)


def run_export(
    source: Path, output: Path, options: ExportOptions, progress: Progress | None = None
) -> Exported:
    """`export` with its options in one value; the same errors."""
    _check_paths(source, output)
    tell = progress or _silent
    tell("read", 0, 1)
    with scratch(output) as folder:
        request = Request(
            path=source,
            folder=folder,
            weights=options.weights,
            entry=options.entry,
            input_shapes=options.input_shapes,
            trust_pickle=options.trust_pickle,
        )
        opened = open_source_model(request, options.framework)
        return _export(request, output, opened, options, tell)


def _export(
    request: Request, output: Path, opened: SourceModel, options: ExportOptions, tell: Progress
) -> Exported:
    precision, said = kept_precision(opened.model, options.precision)
    found = spec_of(opened, options)
    check_embeddable(found, options)
    model = clean(opened.model)
    data = _inputs(model, found, options)
    model, told = _modern(model, data)
    job = _Job(opened, options, found, model, tell, data, _data(options), request.folder)
    job.check_data()
    made, kept = job.make()
    spec = dataclasses.replace(
        found,
        source_sha256=opened.sha256,
        precision=precision,
        target=options.target if options.precision == "int8" else found.target,
    )
    place = output.resolve()  # what a link points to is replaced, not the link
    provenance = provenance_of(opened, options, data, precision)
    stamp(made, spec, provenance)
    with staged(place) as folder:
        files = write_model(made, folder / place.name, opened.path.parent)
        figures, metric, notes = job.prove(files[-1])
        if options.embed_preprocess or options.embed_nms:
            figures["embedded"] = check_embedded(
                made, spec, options, data, lambda graph, of: job.openable(graph, of, folder)
            )
            made, spec = embedded(made, spec, options)
            stamp(made, spec, provenance)
            files = write_model(made, folder / place.name, folder)
        file = open_model_file(files[-1])
        files, more = job.with_golden(made, spec, file.sha256, files)
        more += coarse_scores(made)
        publish([(path, place.parent / path.name) for path in files])
    published = [path.name for path in files]
    forget_older(place, published)
    tell("write", 1, 1)
    return Exported(
        output=output,
        sha256=file.sha256,
        precision=precision,
        target=spec.target,
        spec=spec,
        parity=figures,
        metric=metric,
        kept_float=kept,
        variants=({"role": "source", "path": str(request.path), "sha256": opened.sha256},),
        notes=(
            *opened.notes,
            *said,
            *told,
            *found.notes,
            *data.notes,
            *notes,
            *more,
            *coarse_scores(made),
        ),
        golden=golden_path(place) if golden_path(place).name in published else None,
        graph=_graph_figures(opened.model, made),
        provenance=provenance,
    )


def _modern(model: onnx.ModelProto, data: Calibration) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The same graph in operators that old runtimes read, as small as it gets."""
    model, told = fit_opset(model, lambda one, other: same_answers(one, other, data))
    return simplify(model, data), told


def _graph_figures(before: onnx.ModelProto, after: onnx.ModelProto) -> dict[str, Any]:
    """Nodes, opset and bytes of weights, before and after."""
    return {
        name: {"before": figure(before), "after": figure(after)}
        for name, figure in (
            ("nodes", lambda model: len(model.graph.node)),
            ("opset", opset_of),
            ("weight_bytes", size_of),
        )
    }


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
    folder: Path

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
            check_fp32(figures)
        metric: dict[str, Mapping[str, float]] = {"before": {}, "after": {}}
        notes: tuple[str, ...] = ()
        if self.source.reference is None:
            notes += (
                "nothing here runs the source itself, so parity was measured against the graph "
                "as it was converted",
            )
        if self.dataset is None and not isinstance(self.data, PictureCalibration):
            return figures, metric, notes
        reference = self.openable(self.source.model, self.spec, self.source.path.parent)
        other = self.openable(
            onnx.load(str(made), load_external_data=False), self.spec, made.parent
        )
        if isinstance(self.data, PictureCalibration):
            figures["agreement"] = agreement(reference, other, self.data)
            notes += agreement_notes(figures["agreement"])
        if self.dataset is not None:
            metric, more = self._measure(reference, other, self.dataset)
            notes += more
        return figures, metric, notes

    def openable(self, model: onnx.ModelProto, spec: ModelSpec, base: Path) -> Path:
        """Write a copy that this box opens, whatever kind of box the output is for.

        Args:
            base: the folder that tensors in other files are relative to.
        """
        copy = clean(model)
        stamp(copy, dataclasses.replace(spec, target=None))
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return write_model(copy, folder / "model.onnx", base)[-1]

    def with_golden(
        self, made: onnx.ModelProto, spec: ModelSpec, sha256: str, files: tuple[Path, ...]
    ) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """The files with golden vectors before them, and what is to be told of these."""
        if not self.options.golden:
            return files, ()
        path = files[-1]
        if spec.target is not None:
            path = self.openable(made, spec, path.parent)
        golden, notes = golden_vectors(path, spec, self.data, sha256)
        if golden is None:
            return files, notes
        vectors = golden_path(files[-1])
        vectors.write_bytes(pack(golden))
        return (vectors, *files), notes

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


def _silent(step: str, done: int, total: int) -> None:
    """The progress of a caller who wants none."""
