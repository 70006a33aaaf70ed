"""export(): from a trained model to a verified ONNX file, step by step."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeinfer.datasets import Dataset, open_dataset
from edgeinfer.errors import UsageError
from edgeinfer.files import atomic_path, check_writable
from edgeinfer.spec import ModelSpec
from edgeinfer_export.job import Inputs, Job
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import RandomInputs, open_calibration
from edgeinfer_export.result import Exported
from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.precision import check_fp32_source
from edgeinfer_export.steps.stamp import stamp

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
    progress: Progress | None = None,
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
        calibration=_path(calibration),
        calibration_method=calibration_method,
        validation=None if validation is None else str(validation),
        max_drop=max_drop,
        entry=entry,
        weights=_path(weights),
        input_shapes={name: tuple(shape) for name, shape in input_shapes.items()},
        trust_pickle=trust_pickle,
        spec=spec if isinstance(spec, ModelSpec) else _path(spec),
        task=task,
        head=head,
        labels=_path(labels),
    )
    return run_export(Path(source), Path(output), options, progress)


def run_export(
    source: Path, output: Path, options: ExportOptions, progress: Progress | None = None
) -> Exported:
    """`export` with its options in one value; the same errors."""
    check_paths(source, output)
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
        )
        opened = open_source_model(request, options.framework)
        return export_opened(source, output, opened, options, tell)


def export_opened(
    source: Path, output: Path, opened: SourceModel, options: ExportOptions, tell: Progress
) -> Exported:
    """`export` of a source that was read; the same errors."""
    check_fp32_source(opened.model)
    found = spec_of(opened, options)
    model = clean(opened.model)
    target = options.target if options.precision.startswith("int8") else None
    spec = dataclasses.replace(
        found, source_sha256=opened.sha256, precision=options.precision, target=target
    )
    with tempfile.TemporaryDirectory(prefix="edgeinfer-export-") as folder:
        data, dataset = _inputs(model, found, options), _data(options)
        job = Job(opened, options, found, model, tell, data, dataset, Path(folder))
        job.check_data()
        made = job.make()
        stamp(made.model, spec)
        content = made.model.SerializeToString(deterministic=True)
        with atomic_path(output) as temp:
            temp.write_bytes(content)
            proof = job.prove(temp, made)
    tell("write", 1, 1)
    sha256 = hashlib.sha256(content).hexdigest()
    return Exported(
        output=output,
        sha256=sha256,
        precision=options.precision,
        target=target,
        spec=spec,
        parity=proof.parity,
        metric=proof.metric,
        kept_float=tuple(name for reason in made.kept for name in reason.nodes),
        variants=(
            {"role": "source", "path": str(source), "sha256": opened.sha256, "precision": "fp32"}
            | proof.speed_of("source"),
            {"role": "output", "path": str(output), "sha256": sha256}
            | {"precision": options.precision}
            | proof.speed_of("output"),
        ),
        notes=(*opened.notes, *found.notes, *data.notes, *made.notes, *proof.notes),
        float_reasons=tuple(reason.to_dict() for reason in made.kept),
        gate=made.gate,
        speed=proof.speed,
    )


def _inputs(model: onnx.ModelProto, spec: ModelSpec, options: ExportOptions) -> Inputs:
    """What calibration and comparison feed."""
    tensors = tuple(tensor_spec(value) for value in model.graph.input)
    if options.calibration is None:
        return RandomInputs(tensors, spec)
    return open_calibration(options.calibration, spec, tensors)


def _data(options: ExportOptions) -> Dataset | None:
    return None if options.validation is None else open_dataset(options.validation)


def check_paths(source: Path, output: Path) -> None:
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
