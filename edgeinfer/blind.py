"""Models that see nothing and raise no error: every score is exactly zero, or always the same.

Quantization does it when one 8-bit scale covers boxes in hundreds of pixels and scores up to one:
a step of 2.7 rounds every score to zero. The graph alone shows it (`coarse_scores`); where it was
done in another way, a few answers do (`dead_channels`). `inspect` and the accuracy gate of export
share both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from edgeinfer.frames import Array

# Their outputs lie in [0, 1].
_SCORES = ("Sigmoid", "Softmax", "HardSigmoid", "QLinearSigmoid", "QLinearSoftmax")
# What moves values about, or stores them in another way, without computing new ones.
_MOVES = (
    *("Cast", "Concat", "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity"),
    *("QLinearConcat", "QuantizeLinear", "Reshape", "Slice", "Split", "Squeeze", "Transpose"),
    *("Unsqueeze",),
)
# With a step beyond this a score in [0, 1] has two values at most, and none of its own.
_COARSE = 0.5
# Above this even a score of one rounds to zero.
_DEAD = 2.0


def coarse_scores(model: onnx.ModelProto) -> tuple[str, ...]:
    """Outputs whose scores are stored with a step that leaves nothing of them.

    Every output is walked back over nodes that only move or store values, until a sigmoid or
    softmax is met; the coarsest step on the way counts.

    Args:
        model: its tensors may lie in other files; steps are small and lie in the graph.

    Returns:
        A sentence for each output, without its end.
    """
    graph = _Graph(model)
    found = []
    for output in model.graph.output:
        steps = [step for step in graph.steps(output.name) if step > _COARSE]
        if not steps:
            continue
        step = max(steps)
        left = "every score is exactly 0" if step > _DEAD else "a score is 0 or 1 and nothing else"
        found.append(
            f"the output '{output.name}' holds scores up to 1 and stores them in steps of "
            f"{step:.3g}, so {left}: this model is blind. One 8-bit scale covers boxes and scores; "
            f"quantize it again with its head left in float ('edgeinfer export --precision int8' "
            f"does)"
        )
    return tuple(found)


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._producers = {name: node for node in model.graph.node for name in node.output if name}
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}

    def steps(self, output: str) -> Iterator[float]:
        """The coarsest step between an output and each score that goes into it."""
        waiting, seen = [(output, 0.0)], set()
        while waiting:
            name, step = waiting.pop()
            node = self._producers.get(name)
            if node is None or (name, step) in seen:
                continue
            seen.add((name, step))
            step = max(step, self._own_step(node))
            if node.op_type in _SCORES:
                yield step
            elif node.op_type in _MOVES:
                waiting += [(item, step) for item in node.input if item]

    def _own_step(self, node: onnx.NodeProto) -> float:
        """The step that a node stores its output with; 0 where it stores none anew."""
        places = {"QuantizeLinear": 1, "QLinearConcat": 0, "QLinearSigmoid": 3, "QLinearSoftmax": 3}
        place = places.get(node.op_type)
        if place is None or place >= len(node.input):
            return 0.0
        tensor = self._stored.get(node.input[place])
        return 0.0 if tensor is None else _largest(tensor)


def _largest(tensor: Any) -> float:
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        return 0.0
    values = np.asarray(numpy_helper.to_array(tensor), np.float64)
    # Per channel some may be fine; what is coarse for all is coarse for the scores.
    return float(values.min()) if values.size else 0.0


def dead_channels(runs: Sequence[Mapping[str, Array]]) -> tuple[str, ...]:
    """Outputs of which some channels are exactly zero on everything, while others move.

    Args:
        runs: raw outputs for inputs that differ and look real.

    Returns:
        A sentence for each such `(1, A, B)` output, without its end.
    """
    found = []
    for name in runs[0] if runs else ():
        arrays = [run[name] for run in runs]
        if any(a.ndim != 3 or a.dtype.kind != "f" or a.size == 0 for a in arrays):
            continue
        axis = (0, 2) if arrays[0].shape[1] <= arrays[0].shape[2] else (0, 1)
        moving = np.any([np.abs(a).max(axis=axis) > 0 for a in arrays], axis=0)
        dead = int((~moving).sum())
        if 0 < dead < len(moving):
            found.append(
                f"{dead} of {len(moving)} channels of the output '{name}' are exactly 0 on "
                f"{len(runs)} different pictures: if those are its scores, this model is blind"
            )
    return tuple(found)
