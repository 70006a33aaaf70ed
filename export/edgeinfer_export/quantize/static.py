"""INT8 by calibration: QuantizeLinear and DequantizeLinear around what shall run in 8 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.frames import Array
from edgeinfer.packages import need
from edgeinfer.providers import onnxruntime
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.heads import float_nodes, layers_left
from edgeinfer_export.quantize.quiet import quiet
from edgeinfer_export.quantize.recipes import METHODS, OP_TYPES, RECIPES
from edgeinfer_export.steps.clean import clean, drop_unused_opsets, raise_opset

if TYPE_CHECKING:
    import onnx

# The quantizer knows by this mark that the graph was optimized before.
_PREPROCESSED = ("onnx.quant.pre_process", "onnxruntime.quant")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Quantized:
    """A graph in 8 bits.

    Attributes:
        model: with QDQ pairs.
        kept_float: nodes that stayed in float by intent.
        layers: how many layers run in 8 bits.
    """

    model: onnx.ModelProto
    kept_float: tuple[str, ...]
    layers: int


class _Reader:
    """What ONNX Runtime's calibrator draws inputs from, one sample per stride."""

    def __init__(self, calibration: Calibration, progress: Progress | None) -> None:
        self._calibration = calibration
        self._progress = progress
        self._next = self._end = 0

    def __len__(self) -> int:
        return len(self._calibration)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Array] | None:
        if self._next >= self._end:
            return None
        inputs = self._calibration.inputs(self._next)
        self._next += 1
        if self._progress is not None:
            self._progress(self._next, len(self))
        return inputs


def quantize(
    model: onnx.ModelProto,
    calibration: Calibration,
    *,
    target: str,
    method: str,
    keep_last: bool,
    progress: Progress | None = None,
) -> Quantized:
    """Turn a clean FP32 model into INT8.

    Args:
        model: as `steps.clean` leaves it.
        calibration: inputs that are typical.
        target: a name of `RECIPES`.
        method: a name of `METHODS`.
        keep_last: see `float_nodes`.
        progress: called with samples done and in all.

    Raises:
        ModelFileError: if the model has nothing to quantize, or the quantizer cannot handle it.
        SourceError: if a calibration sample cannot be read.
    """
    with quiet():
        prepared = _prepared(raise_opset(model))
    kept = float_nodes(prepared, keep_last=keep_last)
    layers = layers_left(prepared, kept)
    if layers == 0:
        raise ModelFileError(
            "There is nothing to quantize: every layer with weights is the last of its branch, "
            "and those stay in float. Export with --precision fp32."
        )
    reader = _Reader(calibration, progress)
    quantized = _with_qdq(prepared, reader, target, method, kept)
    return Quantized(quantized, kept, layers)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and batch normalizations, so that fewer nodes need ranges."""
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
            raise _refused(error, "optimizing the graph") from error
        optimized = onnx.load(str(path))
    optimized = clean(optimized)
    drop_unused_opsets(optimized)
    return optimized


def _with_qdq(
    model: onnx.ModelProto, reader: _Reader, target: str, method: str, kept: Sequence[str]
) -> onnx.ModelProto:
    import onnx

    tools: Any = need("onnxruntime.quantization")
    recipe = RECIPES[target]
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    marked.metadata_props.add(key=_PREPROCESSED[0], value=_PREPROCESSED[1])
    with tempfile.TemporaryDirectory(prefix="edgeinfer-export-") as folder:
        path = Path(folder) / "quantized.onnx"
        try:
            with quiet():
                tools.quantize_static(
                    marked,
                    str(path),
                    reader,
                    quant_format=tools.QuantFormat.QDQ,
                    op_types_to_quantize=list(OP_TYPES),
                    per_channel=True,
                    reduce_range=recipe.reduce_range,
                    activation_type=getattr(tools.QuantType, recipe.activation),
                    weight_type=getattr(tools.QuantType, recipe.weight),
                    nodes_to_exclude=list(kept),
                    calibrate_method=getattr(tools.CalibrationMethod, METHODS[method]),
                    extra_options={
                        "ActivationSymmetric": recipe.activation == "QInt8",
                        "WeightSymmetric": True,
                        # Products of two activations (attention) lose too much.
                        "MatMulConstBOnly": True,
                        # One sample at a time: without it all tensors of all samples are kept.
                        "CalibStridedMinMax": 1,
                    },
                )
        except EdgeInferError:
            raise
        except Exception as error:
            raise _refused(error, "quantizing it") from error
        quantized = onnx.load(str(path))
    return clean(quantized)


def _refused(error: Exception, doing: str) -> ModelFileError:
    from edgeinfer.providers.ort import runtime_message

    return ModelFileError(
        f"ONNX Runtime failed at {doing}: {runtime_message(error)}. Export with --precision fp32, "
        f"or export the model again from its framework for opset 17."
    )
