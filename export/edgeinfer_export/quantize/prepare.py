"""Fold what can be folded before numbers are narrowed, so that fewer nodes need ranges."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError
from edgeinfer.providers import onnxruntime
from edgeinfer.providers.ort import runtime_message
from edgeinfer_export.quantize.quiet import quiet
from edgeinfer_export.steps.clean import clean, drop_unused_opsets, raise_opset

if TYPE_CHECKING:
    import onnx


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and batch normalizations; the opset is one that has QDQ per channel.

    Args:
        model: as `steps.clean` leaves it.

    Raises:
        ModelFileError: if ONNX Runtime cannot read it.
    """
    with quiet():
        return _optimized(raise_opset(model))


def refused(error: Exception, doing: str) -> ModelFileError:
    """What to raise where a tool of ONNX Runtime fails."""
    return ModelFileError(
        f"ONNX Runtime failed at {doing}: {runtime_message(error)}. Export with --precision fp32, "
        f"or export the model again from its framework for opset 17."
    )


def _optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    ort = onnxruntime()
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    # Basic: only standard operators come out, the same on every machine.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="edgeinfer-export-") as folder:
        path = Path(folder) / "optimized.onnx"
        settings.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise refused(error, "optimizing the graph") from error
        optimized = onnx.load(str(path))
    optimized = clean(optimized)
    drop_unused_opsets(optimized)
    return optimized
