"""INT8 by calibration: QuantizeLinear and DequantizeLinear around what shall run in 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.heads import float_nodes, layers_left
from edgeinfer_export.quantize.prepare import prepared, refused
from edgeinfer_export.quantize.products import plain_gemms
from edgeinfer_export.quantize.quiet import quiet
from edgeinfer_export.quantize.ranges import Observed, observe
from edgeinfer_export.quantize.recipes import RECIPES
from edgeinfer_export.quantize.recurrent import better_precision, recurrent_left
from edgeinfer_export.quantize.sums import narrow_skips
from edgeinfer_export.quantize.thresholds import range_of
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.staging import throwaway

if TYPE_CHECKING:
    import onnx

# The quantizer knows by this mark that the graph was optimized before.
_PREPROCESSED = ("onnx.quant.pre_process", "onnxruntime.quant")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A float graph with everything that is needed to write it in 8 bits.

    Attributes:
        model: the float graph, prepared.
        observed: what its tensors hold.
        target: a name of `RECIPES`.
        method: a name of `thresholds.METHODS`.
        head: nodes that stay in float whatever else does.
    """

    model: onnx.ModelProto
    observed: Observed
    target: str
    method: str
    head: tuple[str, ...]
    _last: dict[tuple[str, ...], bytes] = field(default_factory=dict, init=False, repr=False)

    @property
    def precision(self) -> str:
        return "int8"

    def build(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The graph with QDQ pairs.

        Args:
            kept: nodes that stay in float besides the head.

        Raises:
            ModelFileError: if the quantizer cannot handle it.
        """
        import onnx

        excluded = [*self.head, *(name for name in kept if name not in self.head)]
        key = tuple(excluded)
        if key not in self._last:
            # Whoever looks for the best asks for the same graph more than once in a row.
            self._last.clear()
            self._last[key] = self._built(excluded).SerializeToString()
        model = onnx.ModelProto()
        model.ParseFromString(self._last[key])
        return model

    def _built(self, excluded: Sequence[str]) -> onnx.ModelProto:
        try:
            with quiet():
                quantized = _with_qdq(self, excluded)
        except EdgeInferError:
            raise
        except Exception as error:
            raise refused(error, "quantizing it") from error
        recipe = RECIPES[self.target]
        if recipe.skip_sums:
            narrow_skips(quantized, self._ranges(), set(excluded))
        return clean(quantized)

    def _ranges(self) -> dict[str, tuple[float, float]]:
        return {
            name: range_of(seen.histogram, self.method)
            for name, seen in self.observed.tensors.items()
        }


def quantizer(
    model: onnx.ModelProto,
    calibration: Calibration,
    *,
    target: str,
    method: str,
    keep_last: bool,
    progress: Progress | None = None,
) -> Quantizer:
    """Watch a clean FP32 model on calibration data, ready to be written in 8 bits.

    Args:
        model: as `steps.clean` leaves it.
        calibration: inputs that are typical.
        target: a name of `RECIPES`.
        method: a name of `thresholds.METHODS`.
        keep_last: see `float_nodes`.
        progress: called with samples done and in all.

    Raises:
        ModelFileError: if the model has nothing to quantize, or ONNX Runtime cannot handle it.
        SourceError: if a calibration sample cannot be read.
    """
    ready = clean(plain_gemms(prepared(model)))
    head = float_nodes(ready, keep_last=keep_last)
    if layers_left(ready, head) == 0:
        recurrent = recurrent_left(ready, "int8")
        if recurrent:
            raise ModelFileError(
                f"There is nothing to quantize: {len(recurrent)} of the layers are recurrent, and "
                f"every other one with weights is the last of its branch; both stay in float. "
                f"Export with {better_precision(ready, 'int8')}."
            )
        raise ModelFileError(
            "There is nothing to quantize: every layer with weights is the last of its branch, "
            "and those stay in float. Export with --precision fp32."
        )
    return Quantizer(ready, observe(ready, calibration, progress), target, method, head)


def _with_qdq(job: Quantizer, excluded: Sequence[str]) -> onnx.ModelProto:
    """What ONNX Runtime's quantizer makes of the graph, with our ranges."""
    import onnx

    tools: Any = need("onnxruntime.quantization")
    inside: Any = need("onnxruntime.quantization.qdq_quantizer")
    calibrate: Any = need("onnxruntime.quantization.calibrate")
    recipe = RECIPES[job.target]
    marked = onnx.ModelProto()
    marked.CopyFrom(job.model)
    marked.metadata_props.add(key=_PREPROCESSED[0], value=_PREPROCESSED[1])
    pairs = {
        name: (np.array(low, np.float32), np.array(high, np.float32))
        for name, (low, high) in job._ranges().items()
    }
    layers = ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool"]
    work = inside.QDQQuantizer(
        marked,
        True,
        recipe.reduce_range,
        getattr(tools.QuantType, recipe.weight),
        getattr(tools.QuantType, recipe.activation),
        calibrate.TensorsData(calibrate.CalibrationMethod.MinMax, pairs),
        [],
        list(excluded),
        list(recipe.op_types),
        {
            "ActivationSymmetric": recipe.activation == "QInt8",
            "WeightSymmetric": True,
            # Products of two activations (attention) lose too much.
            "MatMulConstBOnly": True,
            "QuantizeBias": recipe.int_bias,
            "AddQDQPairToWeight": recipe.float_weights,
            "OpTypesToExcludeOutputQuantization": layers if recipe.inputs_only else [],
        },
    )
    work.quantize_model()
    with throwaway() as folder:
        path = folder / "quantized.onnx"
        work.model.save_model_to_file(str(path), False)
        return onnx.load(str(path))
