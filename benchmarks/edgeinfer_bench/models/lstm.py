"""A small recurrent classifier of sensor readings, with random weights.

Two LSTM layers (Hochreiter and Schmidhuber 1997) of 128 units and a dense layer, on 9 channels, as
in the smartphone activity data of Anguita et al. 2013 (windows of 128 readings, 6 activities). 0.2
million parameters: 4 gates x 128 x (9 + 128) and 4 x 128 x (128 + 128) weights, two biases of
4 x 128 a layer, and 128 x 6 + 6; 26 million multiply-adds for 128 readings.
"""

from __future__ import annotations

import math

from edgeinfer.errors import UsageError
from edgeinfer_bench.models.graph import Graph
from edgeinfer_bench.models.specs import sequence_classifier

_CHANNELS, _UNITS, _LAYERS, _CLASSES = 9, 128, 2, 6
_MAX_LENGTH = 4000


def build_lstm(length: int) -> bytes:
    """The ONNX file: `readings (1, length, 9)` to `logits (1, 6)`.

    Raises:
        UsageError: for a length that is not from 1 to 4000.
    """
    if not 1 <= length <= _MAX_LENGTH:
        raise UsageError(f"The length {length} is not from 1 to {_MAX_LENGTH}.")
    graph = Graph(seed=9)
    x = graph.node("Transpose", ["readings"], perm=[1, 0, 2])
    channels = _CHANNELS
    for _ in range(_LAYERS):
        x, channels = _layer(graph, x, channels, length), _UNITS
    last = graph.node("Gather", [x, graph.integers(length - 1)], axis=0)
    flat = graph.node("Reshape", [last, graph.integers(1, _UNITS)])
    logits = graph.dense(flat, _UNITS, _CLASSES, gain=5.0)
    return graph.model(
        "lstm-like",
        ("readings", (1, length, _CHANNELS)),
        (logits, "logits", (1, _CLASSES)),
        sequence_classifier("readings", _CLASSES),
    )


def _layer(graph: Graph, x: str, channels: int, length: int) -> str:
    """`(length, 1, channels)` to `(length, 1, 128)`: what the cells say after every reading."""
    weights = [
        graph.learned((1, 4 * _UNITS, channels), 1 / math.sqrt(channels)),
        graph.learned((1, 4 * _UNITS, _UNITS), 1 / math.sqrt(_UNITS)),
        graph.learned((1, 8 * _UNITS), 0.1),
    ]
    y = graph.node("LSTM", [x, *weights], hidden_size=_UNITS)
    return graph.node("Reshape", [y, graph.integers(length, 1, _UNITS)])
