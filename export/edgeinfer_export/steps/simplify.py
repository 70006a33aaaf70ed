"""Fold what is constant, fold batch normalizations, drop what nothing reads; then prove it.

The work is done by ONNX Runtime's basic optimizations, which leave standard operators only
(https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.artifact import nodes_of, precision_of
from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Array
from edgeinfer.preprocess.surgery import subgraphs
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.session import Session, optimized
from edgeinfer_export.steps.clean import clean, drop_unused_opsets
from edgeinfer_export.steps.staging import throwaway
from edgeinfer_export.steps.write import size_of

if TYPE_CHECKING:
    import onnx

# A folded batch normalization rounds its weights once more.
_TOLERANCE = 1e-5
# Folding an expanded constant would blow the file up; growth by as much is no loss.
_GROWTH, _GROWTH_BYTES = 1.1, 1 << 20
# What is bigger is not run only to compare.
MOST_BYTES = 1 << 30
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial")


def simplify(model: onnx.ModelProto, data: Calibration) -> onnx.ModelProto:
    """A smaller graph that computes the same, or the model itself where there is none.

    Args:
        model: as `clean` leaves it.
        data: inputs to run both on.
    """
    model = without_dead(model)
    if size_of(model) > MOST_BYTES or precision_of(model) != "fp32":
        # The runtime widens halves to run them, and moves the scales of quantized graphs about.
        return model
    try:
        smaller = clean(optimized(model))
        drop_unused_opsets(smaller)
    except EdgeInferError:
        return model
    smaller.ir_version = model.ir_version
    del smaller.metadata_props[:]
    smaller.metadata_props.extend(model.metadata_props)
    grown = size_of(smaller) > _GROWTH * size_of(model) + _GROWTH_BYTES
    if grown or len(smaller.graph.node) > len(model.graph.node):
        return model
    return smaller if same_answers(model, smaller, data) else model


def without_dead(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without nodes that no output depends on; itself where there are none."""
    import onnx

    needed = {value.name for value in model.graph.output}
    dead = []
    for place in reversed(range(len(model.graph.node))):  # readers come after writers
        node = model.graph.node[place]
        if any(name in needed for name in node.output):
            needed.update(_read_by(node))
        else:
            dead.append(place)
    if not dead:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for place in dead:
        del copy.graph.node[place]
    return clean(copy)


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node reads, the graphs inside it included."""
    yield from node.input
    for graph in subgraphs(node):
        yield from (value.name for value in graph.output)
        for inner in graph.node:
            yield from _read_by(inner)


def same_answers(one: onnx.ModelProto, other: onnx.ModelProto, data: Calibration) -> bool:
    """Whether two graphs give the same outputs for one input, within rounding.

    Graphs that draw random numbers cannot be compared: they are never the same.
    """
    if any(node.op_type in _RANDOM for node in nodes_of(one.graph)):
        return False
    fed = data.inputs(0)
    with throwaway() as folder:
        try:
            before = _answers(one, folder / "before.onnx", fed)
            after = _answers(other, folder / "after.onnx", fed)
        except EdgeInferError:
            return False
    return before.keys() == after.keys() and all(
        _same(before[name], after[name]) for name in before
    )


def _answers(model: onnx.ModelProto, path: Path, fed: Mapping[str, Array]) -> dict[str, Array]:
    path.write_bytes(model.SerializeToString(deterministic=True))
    return Session(path).run(fed)


def _same(a: Array, b: Array) -> bool:
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiu":  # truth values have no range
        return np.array_equal(a, b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    known = a[np.isfinite(a)]
    span = float(np.ptp(known)) if known.size else 0.0
    return bool(np.allclose(a, b, rtol=0.0, atol=_TOLERANCE * (span or 1.0), equal_nan=True))
