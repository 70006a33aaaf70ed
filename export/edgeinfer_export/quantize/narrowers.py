"""From a precision's name to what writes a graph in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.choose import choose
from edgeinfer_export.quantize.dynamic import DynamicQuantizer, dynamic_quantizer
from edgeinfer_export.quantize.float16 import HalfFloats, half_floats
from edgeinfer_export.quantize.static import Quantizer, quantizer
from edgeinfer_export.quantize.thresholds import METHODS

if TYPE_CHECKING:
    import onnx

Progress = Callable[[int, int], None]


Writer = Quantizer | HalfFloats | DynamicQuantizer


def narrowers(
    model: onnx.ModelProto,
    samples: Calibration,
    options: ExportOptions,
    *,
    keep_last: bool,
    progress: Progress | None = None,
) -> tuple[tuple[Writer, ...], tuple[str, ...]]:
    """What writes a clean FP32 graph in the precision that was asked for.

    Args:
        samples: typical inputs.
        keep_last: whether the last layers stay in float, see `heads.float_nodes`.
        progress: called with samples done and in all.

    Returns:
        The best one by a few samples, with others that may do better on all data behind it; and
        notes for people.

    Raises:
        ModelFileError: if the graph cannot be written in it.
        SourceError: if a sample cannot be read.
    """
    if options.precision == "fp16":
        half = half_floats(model, samples, progress)
        if not half.head:
            return (half,), ()
        return (half,), (
            f"{len(half.head)} nodes stay in FP32, as their numbers come near to the end of FP16's "
            f"range (65504)",
        )
    if options.precision == "int8-dynamic":
        return (dynamic_quantizer(model, target=options.target),), ()
    job = quantizer(
        model,
        samples,
        target=options.target,
        method="minmax",
        keep_last=keep_last,
        progress=progress,
    )
    chosen, notes = choose(job, samples, options.calibration_method, progress)
    if job.observed.resumed:
        notes = (f"ranges of {job.observed.resumed} samples were found in the cache", *notes)
    if options.calibration_method != "auto":
        return (chosen,), notes
    others = (replace(chosen, method=name) for name in METHODS if name != chosen.method)
    return (chosen, *others), notes
