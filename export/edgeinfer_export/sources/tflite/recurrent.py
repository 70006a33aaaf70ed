"""Operators that carry a state from step to step."""

from __future__ import annotations

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.tflite import schema
from edgeinfer_export.sources.tflite.graph import PLAIN, Graph
from edgeinfer_export.sources.tflite.layouts import Made
from edgeinfer_export.sources.tflite.model import Operator

# Places among the inputs (lite/core/kernels' lstm_shared.h): weights of the gates input, forget,
# cell, output; the same of the state; peepholes; biases; projection; layer norms.
_INPUT_GATES, _STATE_GATES, _BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
_EXTRAS = {9: "peepholes", 10: "peepholes", 16: "a projection", 20: "layer norms"}
# ONNX orders the gates input, output, forget, cell.
_ORDER = (0, 3, 1, 2)


def unidirectional_sequence_lstm(graph: Graph, op: Operator) -> Made:
    """An LSTM over a sequence; its state starts at zero with every call."""
    options = op.options
    for place, what in _EXTRAS.items():
        if place < len(op.inputs) and op.inputs[place] >= 0:
            raise graph.unsupported(f"it has {what}")
    if op.inputs[1] < 0:
        raise graph.unsupported("its input and forget gates are coupled")
    if options is None or options.number(0, "b") != schema.TANH:
        raise graph.unsupported("its activation is not tanh")
    w = _stacked(graph, op, _INPUT_GATES)
    r = _stacked(graph, op, _STATE_GATES)
    b = _stacked(graph, op, _BIASES)
    zeros = np.zeros_like(b)
    time_major = options.flag(3)
    x = graph.value(op.inputs[0])
    if not time_major:
        x = graph.emit("Transpose", [x], perm=[1, 0, 2])
    names = [
        x,
        graph.const(w[None], "lstm/w"),
        graph.const(r[None], "lstm/r"),
        graph.const(np.concatenate([b, zeros])[None], "lstm/b"),
    ]
    size = r.shape[1]
    clip = options.real(1)
    if clip > 0:
        graph.note(
            f"the source keeps the cell of its LSTM within {clip:g}, which ONNX cannot say: only "
            f"sequences that drive it further are computed otherwise"
        )
    y = graph.emit("LSTM", names, hidden_size=size)
    y = graph.emit("Squeeze", [y, graph.ints(1)])
    return [(y if time_major else graph.emit("Transpose", [y], perm=[1, 0, 2]), PLAIN)]


def _stacked(graph: Graph, op: Operator, places: tuple[int, ...]) -> Array:
    """The weights of four gates below one another, in ONNX's order."""
    parts = [graph.need_constant(op.inputs[place], "weights") for place in places]
    if any(graph.tensor(op.inputs[place]).quantized for place in places):
        graph.rounds = True
    return np.concatenate([parts[gate].astype(np.float32) for gate in _ORDER])
