"""What an export is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeinfer.errors import UsageError, suggest
from edgeinfer.spec import TARGETS, ModelSpec
from edgeinfer_export.sources import SOURCES

PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
FRAMEWORKS = ("auto", *SOURCES)
CALIBRATION_METHODS = ("auto", "minmax", "percentile", "entropy")


@dataclass(frozen=True)
class ExportOptions:
    """How to export a model.

    Attributes:
        precision: ``fp32``; ``fp16`` (FP32 where FP16 would overflow); ``int8`` (weights and
            activations, calibrated); ``int8-dynamic`` (weights, with activations narrowed as they
            come: for transformers and recurrent nets).
        target: what kind of box INT8 is for: ``x86-any`` (7-bit weights, right on every x86-64),
            ``x86-vnni`` (8-bit weights, wrong without VNNI), ``arm``, ``tensorrt``, ``openvino``.
        framework: where the source comes from; ``auto`` looks at the file.
        entry: ``module:callable`` that returns the PyTorch module which `weights` belong to.
        weights: a file of weights, where program and weights are apart.
        input_shapes: input name to shape, for sources that leave it open; a name in place of a
            number keeps that dimension open in the ONNX file, too.
        trust_pickle: whether code that lies inside the source may run (in a child process).
        calibration: folder of pictures, or an .npz file, that INT8 ranges are measured on.
        calibration_method: ``minmax``, ``percentile``, ``entropy``, or ``auto``: whichever brings
            the outputs nearest to the source's.
        validation: labelled data for the metric before and after.
        max_drop: how much of the metric may be lost, as a share of what the source has: with 0.01
            a metric of 0.80 may fall to 0.792. None for any. Without `validation` the metric is
            the agreement with the source on the calibration data.
        spec: a spec, or a spec file that overrides what the source says.
        task: overrides the source's task.
        head: overrides the source's head.
        labels: file of labels that overrides the source's.
        embed_preprocess: whether channel order, layout, scale and mean go into the graph, which
            then takes pictures as decoders deliver them.
        embed_nms: whether a detector's boxes are decoded and suppressed in the graph, at the
            thresholds of its spec.
        golden: whether golden vectors are written beside the file.
    """

    precision: str = "fp32"
    target: str = "x86-any"
    framework: str = "auto"
    entry: str | None = None
    weights: Path | None = None
    input_shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    trust_pickle: bool = False
    calibration: Path | None = None
    calibration_method: str = "auto"
    validation: str | None = None
    max_drop: float | None = None
    spec: ModelSpec | Path | None = None
    task: str | None = None
    head: str | None = None
    labels: Path | None = None
    embed_preprocess: bool = False
    embed_nms: bool = False
    golden: bool = True

    @property
    def int8_target(self) -> str | None:
        """The kind of box that the file is for; None for any, as all but INT8 is."""
        return self.target if self.precision.startswith("int8") else None

    def __post_init__(self) -> None:
        _choose("precision", self.precision, PRECISIONS)
        _choose("target", self.target, TARGETS)
        _choose("framework", self.framework, FRAMEWORKS)
        _choose("calibration method", self.calibration_method, CALIBRATION_METHODS)
        for name, shape in self.input_shapes.items():
            _check_shape(name, shape)
        if self.precision == "int8" and self.calibration is None:
            raise UsageError(
                "INT8 needs calibration data, from which the ranges of values are measured: give "
                "--calibration DIR with 50 to 500 typical pictures, or an .npz file of inputs."
            )
        if self.max_drop is not None:
            if not 0 <= self.max_drop <= 1:
                raise UsageError(f"max_drop is {self.max_drop:g}, not between 0 and 1 (1% is 0.01)")
            if self.validation is None and (self.precision == "fp32" or self.calibration is None):
                raise UsageError(
                    "--max-drop needs labelled data to measure on: --validation DATA; or, for "
                    "agreement with the source without labels, --calibration DATA and a "
                    "--precision below fp32."
                )


def _check_shape(name: str, shape: tuple[int | str, ...]) -> None:
    for size in shape:
        if not (size.isidentifier() if isinstance(size, str) else size > 0):
            raise UsageError(
                f"--input-shape gives '{name}' a dimension of {size}: a dimension is a number from "
                f"1, or a word such as batch, which leaves it open."
            )


def _choose(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UsageError(f"There is no {what} '{name}'. {suggest(name, known)}")
