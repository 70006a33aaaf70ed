"""Which precision a source already has: only FP32 can become what it is not yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.artifact import precision_of, quantized_ops
from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    import onnx


def check_fp32_source(model: onnx.ModelProto) -> None:
    """Refuse a source whose numbers were narrowed before.

    Raises:
        ModelFileError: if it is quantized, or most of its weights are float16.
    """
    found = quantized_ops(model)
    if found:
        raise ModelFileError(
            f"This model is quantized already (it holds {', '.join(found)}): give the FP32 model "
            f"that it was made from."
        )
    if precision_of(model) != "fp32":
        raise ModelFileError(
            "This model computes in float16: this version converts FP32 models only. Give the "
            "FP32 model that it was made from, or run this one as it is."
        )


def kept_precision(model: onnx.ModelProto, asked: str) -> tuple[str, tuple[str, ...]]:
    """The precision that a file made of a model has, and what to tell about it.

    Asked for FP32, a source whose numbers were narrowed before stays as it is: widening them would
    bring nothing back.

    Raises:
        ModelFileError: if such a source shall become something else again.
    """
    if asked != "fp32":
        check_fp32_source(model)
        return asked, ()
    found = precision_of(model)
    if found == "fp32":
        return found, ()
    return found, (f"the source computes in {found} already and stays so",)
