"""FP16, with FP32 where numbers would leave its range or lose their meaning.

The graph takes and gives float32 as before, so that its spec stays true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.halve import Halving
from edgeinfer_export.quantize.prepare import prepared
from edgeinfer_export.quantize.ranges import Observed, Progress, observe
from edgeinfer_export.steps.clean import clean

if TYPE_CHECKING:
    import onnx

# float16 ends at 65504. Sums inside a kernel may be larger than what comes out, and real inputs
# larger than those that were seen.
_MOST = 65504 / 4
# Below this float16 loses digits, and soon everything: an epsilon of 1e-12 would become 0.
_LEAST = 2.0**-14
# Squares of what is taken in are computed inside.
_SQUARES = (
    "InstanceNormalization",
    "LayerNormalization",
    "Pow",
    "ReduceL2",
    "ReduceSumSquare",
)
# e to this is a quarter of float16's end.
_MOST_EXPONENT = 9.7
# They count, sort or make numbers; a step of float16 at 2048 is 1 already.
_STAY = ("Cast", "CumSum", "NonMaxSuppression", "Range", "RoiAlign", "TopK")


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
        """
        import onnx

        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        counting = (node.name for node in copy.graph.node if node.op_type in _STAY)
        Halving(copy, {*self.head, *kept, *counting}).run()
        return clean(copy)


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
    ready = prepared(model)
    observed = observe(ready, samples, progress)
    return HalfFloats(ready, overflowing(ready, observed))


def overflowing(model: onnx.ModelProto, observed: Observed) -> tuple[str, ...]:
    """Nodes that take, give or hold numbers that FP16 cannot."""
    from onnx import TensorProto, numpy_helper

    peaks = {
        name: max(abs(seen.histogram.low), abs(seen.histogram.high))
        for name, seen in observed.tensors.items()
        if seen.histogram.low <= seen.histogram.high
    }
    tiny = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = np.abs(numpy_helper.to_array(tensor))
            # Masks are huge by intent, and what FP16 makes of them is huge, too.
            peaks[tensor.name] = float(values[values < 1e30].max(initial=0.0))
            if 0 < peaks[tensor.name] < _LEAST:
                tiny.add(tensor.name)
    found = []
    for node in model.graph.node:
        most = max((peaks.get(name, 0.0) for name in (*node.input, *node.output)), default=0.0)
        limit = _MOST
        if node.op_type in _SQUARES:
            limit = _MOST**0.5
        elif node.op_type == "Exp":
            most, limit = peaks.get(node.input[0], 0.0), _MOST_EXPONENT
        if most > limit or tiny & set(node.input):
            found.append(node.name)
    return tuple(found)
