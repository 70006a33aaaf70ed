"""FP16, with FP32 where numbers would leave its range or lose their meaning.

The graph takes and gives float32 as before, so that its spec stays true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.packages import need
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.prepare import refused
from edgeinfer_export.quantize.quiet import quiet
from edgeinfer_export.quantize.ranges import Observed, Progress, observe
from edgeinfer_export.steps.clean import clean

if TYPE_CHECKING:
    import onnx

# float16 ends at 65504. Sums inside a kernel may be larger than what comes out, and real inputs
# larger than those that were seen.
_MOST = 65504 / 4
# Resize reads its scales as float32; the rest count, sort or take sizes apart, where a step of
# float16 at 2048 is 1 already: a coordinate of a 4K frame would move by two pixels.
_STAY = (
    "CumSum",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "EyeLike",
    "MatMulInteger",
    "Multinomial",
    "NonMaxSuppression",
    "QuantizeLinear",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Range",
    "Resize",
    "RoiAlign",
    "STFT",
    "TopK",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "Upsample",
)
# Squares and exponentials of what was seen overflow inside.
_REDUCE = (
    "Exp",
    "InstanceNormalization",
    "LayerNormalization",
    "Pow",
    "ReduceL2",
    "ReduceSumSquare",
)


@dataclass(frozen=True, eq=False)
class HalfFloats:
    """A float graph with what is needed to write it in FP16.

    Attributes:
        model: the float graph.
        head: nodes that stay in FP32 because their numbers leave the range of FP16.
    """

    model: onnx.ModelProto
    head: tuple[str, ...]

    @property
    def precision(self) -> str:
        return "fp16"

    def build(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The graph in FP16.

        Args:
            kept: nodes that stay in FP32 besides.

        Raises:
            ModelFileError: if it cannot be converted.
        """
        import onnx

        tool: Any = need("onnxruntime.transformers.float16")
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        try:
            with quiet():
                converted = tool.convert_float_to_float16(
                    copy,
                    keep_io_types=True,
                    op_block_list=list(_STAY),
                    node_block_list=[*self.head, *kept],
                )
        except Exception as error:
            raise refused(error, "converting it to float16") from error
        del converted.graph.value_info[:]
        return clean(converted)


def half_floats(
    model: onnx.ModelProto, samples: Calibration, progress: Progress | None = None
) -> HalfFloats:
    """Watch a clean FP32 model at work and find what FP16 cannot hold.

    Args:
        model: as `steps.clean` leaves it.
        samples: inputs that are typical.

    Raises:
        ModelFileError: if the model cannot be run on them.
        SourceError: if a sample cannot be read.
    """
    observed = observe(model, samples, progress)
    return HalfFloats(model, overflowing(model, observed))


def overflowing(model: onnx.ModelProto, observed: Observed) -> tuple[str, ...]:
    """Nodes that take, give or hold numbers that FP16 cannot."""
    from onnx import TensorProto, numpy_helper

    peaks = {
        name: _peak(seen.histogram.low, seen.histogram.high)
        for name, seen in observed.tensors.items()
    }
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            finite = values[np.isfinite(values)]
            peaks[tensor.name] = float(np.abs(finite).max(initial=0.0))
    found = []
    for node in model.graph.node:
        most = max((peaks.get(name, 0.0) for name in (*node.input, *node.output)), default=0.0)
        limit = _MOST**0.5 if node.op_type in _REDUCE else _MOST
        if node.op_type == "Exp":
            limit = 10.0
        if most > limit:
            found.append(node.name)
    return tuple(found)


def _peak(low: float, high: float) -> float:
    return max(abs(low), abs(high)) if low <= high else 0.0
