"""Fold what can be folded before numbers are narrowed, so that fewer nodes need ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError
from edgeinfer.providers.ort import runtime_message
from edgeinfer_export.quantize.quiet import quiet
from edgeinfer_export.quantize.session import optimized
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
        folded = clean(optimized(raise_opset(model)))
    drop_unused_opsets(folded)
    return folded


def refused(error: Exception, doing: str) -> ModelFileError:
    """What to raise where a tool of ONNX Runtime fails."""
    return ModelFileError(
        f"ONNX Runtime failed at {doing}: {runtime_message(error)}. Export with --precision fp32, "
        f"or export the model again from its framework for opset 17."
    )
