"""export(): from a trained model to a verified ONNX file, step by step."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeinfer.artifact import open_model_file, precision_of
from edgeinfer.blind import coarse_scores
from edgeinfer.datasets import Dataset, open_dataset
from edgeinfer.golden import golden_path
from edgeinfer.spec import ModelSpec
from edgeinfer_export.job import Inputs, Job, Made, Proof
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.paths import check_paths
from edgeinfer_export.quantize.calibration import Calibration, RandomInputs, open_calibration
from edgeinfer_export.result import Exported
from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.steps.clean import clean, opset_of
from edgeinfer_export.steps.embed import check_embeddable, check_embedded, embedded
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.opset import fit_opset
from edgeinfer_export.steps.precision import kept_precision
from edgeinfer_export.steps.provenance import provenance_of
from edgeinfer_export.steps.simplify import same_answers, simplify
from edgeinfer_export.steps.softmax import flatten_softmax
from edgeinfer_export.steps.staging import Files, publish_models, scratch, staged
from edgeinfer_export.steps.stamp import stamp
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
    calibration_method: str = "auto",
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
    say: Callable[[str], None] | None = None,
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
        say: told what takes long before there are steps: an environment that is built, say.

    Raises:
        UsageError: for unknown names, INT8 without calibration data, or an output that is read.
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
    return run_export(Path(source), Path(output), options, progress, say)


def run_export(
    source: Path,
    output: Path,
    options: ExportOptions,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Exported:
    """`export` with its options in one value; the same errors."""
    check_paths(source, output, options)
    tell = progress or _silent
    tell("read", 0, 1)
    with scratch(output) as folder, staged(output.resolve()) as stage:
        request = Request(
            path=source,
            folder=folder,
            weights=options.weights,
            entry=options.entry,
            input_shapes=options.input_shapes,
            trust_pickle=options.trust_pickle,
            say=say or _mute,
        )
        opened = open_source_model(request, options.framework)
        ready = prepare(request, output, opened, options, tell, stage)
        publish_models([ready.files])
    tell("write", 1, 1)
    return ready.exported


@dataclass(frozen=True, eq=False)
class Ready:
    """An export that is proven, and whose files are not yet where they belong.

    Attributes:
        exported: as if they were.
        files: for `publish_models`.
    """

    exported: Exported
    files: Files


def prepare(
    request: Request,
    output: Path,
    opened: SourceModel,
    options: ExportOptions,
    tell: Progress,
    stage: Path,
    size_hw: tuple[int, int] | None = None,
    asked: ExportOptions | None = None,
) -> Ready:
    """`export` of a source that was read, up to publishing; the same errors.

    Args:
        stage: the folder of `staged` for what `output` is, links resolved.
        size_hw: the input size that was asked for, which the source has by now.
        asked: what the user said, where `options` are made of that.
    """
    precision, said = kept_precision(opened.model, options.precision)
    found = spec_of(opened, options)
    check_embeddable(found, options)
    model = clean(opened.model)
    data = _inputs(model, opened, found, options)
    model, told = _modern(model, data)
    folder = Path(tempfile.mkdtemp(dir=request.folder))
    job = Job(opened, options, found, model, tell, data, _data(options, found), folder)
    job.check_data()
    made = job.make()
    spec = dataclasses.replace(
        found,
        source_sha256=opened.sha256,
        precision=precision,
        target=options.int8_target or found.target,
    )
    provenance = provenance_of(opened, asked or options, data, precision, found.notes, size_hw)
    files = _write(job, made, output.resolve(), stage, spec, provenance)
    exported = Exported(
        output=output,
        sha256=files.sha256,
        precision=precision,
        target=files.spec.target,
        spec=files.spec,
        parity=files.proof.parity,
        metric=files.proof.metric,
        kept_float=tuple(name for reason in made.kept for name in reason.nodes),
        variants=(
            {"role": "source", "path": str(request.path), "sha256": opened.sha256}
            | {"precision": precision_of(opened.model)}
            | files.proof.speed_of("source"),
            {"role": "output", "path": str(output), "sha256": files.sha256}
            | {"precision": precision}
            | files.proof.speed_of("output"),
        ),
        notes=(
            *(*opened.notes, *said, *told, *_guessed(found.notes), *_unused(options)),
            *data.notes,
            *(*made.notes, *files.proof.notes, *files.notes),
        ),
        float_reasons=tuple(reason.to_dict() for reason in made.kept),
        gate=made.gate,
        speed=files.proof.speed,
        golden=files.golden,
        graph=_graph_figures(opened.model, files.model),
        provenance=provenance,
    )
    return Ready(exported, files.files)


@dataclass(frozen=True, eq=False)
class _Written:
    """What was written and proven; `model` is the graph in it, `files` are for publishing."""

    model: onnx.ModelProto
    files: Files
    spec: ModelSpec
    sha256: str
    proof: Proof
    golden: Path | None
    notes: tuple[str, ...]


def _write(
    job: Job, made: Made, place: Path, folder: Path, spec: ModelSpec, provenance: Mapping[str, Any]
) -> _Written:
    """Write the graph with its golden vectors, and prove it.

    Args:
        place: what a link points to is replaced, not the link.
        folder: for the files, until they are published.
    """
    options, model = job.options, made.model
    steps: tuple[str, ...] = ()
    stamp(model, spec, provenance)
    files = write_model(model, folder / place.name, job.source.path.parent)
    proof = job.prove(files[-1], made)
    if options.embed_preprocess or options.embed_nms:
        names = iter(("plain.onnx", "embedded.onnx"))
        proof.parity["embedded"] = check_embedded(
            *(model, spec, options, job.data),
            lambda graph, of: job.openable(graph, next(names), spec=of, base=folder),
        )
        model, spec = embedded(model, spec, options)
        stamp(model, spec, provenance)
        steps = job.told_of_steps(model, spec, folder, proof.parity["embedded"])
        files = write_model(model, folder / place.name, folder)
    sha256 = open_model_file(files[-1]).sha256
    files, more = job.with_golden(model, spec, sha256, files)
    golden = golden_path(place) if golden_path(place).name in {f.name for f in files} else None
    notes = (*steps, *more, *coarse_scores(model))
    pairs = [(path, place.parent / path.name) for path in files]
    return _Written(model, pairs, spec, sha256, proof, golden, notes)


def _modern(model: onnx.ModelProto, data: Calibration) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The same graph in operators that old runtimes read, as small and fast as it gets."""
    model, told = fit_opset(model, lambda one, other: same_answers(one, other, data))
    return flatten_softmax(simplify(model, data), data), told


def _guessed(notes: Sequence[str]) -> tuple[str, ...]:
    """What nobody said, in one sentence: from here on the file says it as if it were known."""
    if not notes:
        return ()
    return (f"guessed {'; '.join(notes)}. If that is wrong, say it with --head, --task or --spec",)


def _unused(options: ExportOptions) -> tuple[str, ...]:
    """What was asked for and counts for nothing at this precision."""
    notes = []
    if not options.int8_target and options.target != ExportOptions.target:
        notes.append(
            f"the target {options.target} counts for INT8 only: {options.precision} files are the "
            f"same for every box"
        )
    method = options.calibration_method
    if options.precision != "int8" and method != ExportOptions.calibration_method:
        notes.append(
            f"the calibration method {method} counts for --precision int8 only: "
            f"{options.precision} takes no ranges"
        )
    return tuple(notes)


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


def _inputs(
    model: onnx.ModelProto, opened: SourceModel, spec: ModelSpec, options: ExportOptions
) -> Inputs:
    """What calibration and comparison feed."""
    tensors = tuple(tensor_spec(value) for value in model.graph.input)
    if options.calibration is None:
        known = opened.shapes
        return RandomInputs(
            tuple(dataclasses.replace(t, shape=known.get(t.name, t.shape)) for t in tensors), spec
        )
    return open_calibration(options.calibration, spec, tensors)


def _data(options: ExportOptions, spec: ModelSpec) -> Dataset | None:
    return None if options.validation is None else open_dataset(options.validation, spec.task)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _mute(text: str) -> None:
    """What is told to a caller who wants nothing told."""


def _silent(step: str, done: int, total: int) -> None:
    """The progress of a caller who wants none."""
