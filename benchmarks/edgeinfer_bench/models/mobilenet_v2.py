"""MobileNetV2's architecture with random weights (Sandler et al. 2018, table 2)."""

from __future__ import annotations

import math

from edgeinfer_bench.models.graph import Graph, check_size
from edgeinfer_bench.models.specs import classifier

_CLASSES = 1000
# Expansion, channels, repeats, stride of the first.
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Keeps the variance of a normal input through ReLU (He et al. 2015).
_RELU_GAIN = math.sqrt(2)


def build_mobilenet_v2(size: int) -> bytes:
    """The ONNX file: `input (1, 3, size, size)` to `logits (1, 1000)`.

    Raises:
        UsageError: for a size that is no multiple of 32.
    """
    check_size(size)
    graph = Graph(seed=2)
    x = _relu6(graph, graph.conv(graph.picture("input", 3), 32, 3, 2, gain=_RELU_GAIN))
    channels = 32
    for expansion, out, repeats, first_stride in _BLOCKS:
        for index in range(repeats):
            x = _block(graph, x, channels, out, expansion, first_stride if index == 0 else 1)
            channels = out
    x = _relu6(graph, graph.conv(x, 1280, gain=_RELU_GAIN))
    logits = graph.dense(graph.pooled(x), 1280, _CLASSES, gain=4.0)
    return graph.model(
        "mobilenet-v2-like",
        ("input", (1, 3, size, size)),
        (logits, "logits", (1, _CLASSES)),
        classifier("input", size, _CLASSES),
    )


def _relu6(graph: Graph, x: str) -> str:
    return graph.same("Clip", [x, graph.number(0), graph.number(6)])


def _block(graph: Graph, x: str, channels: int, out: int, expansion: int, stride: int) -> str:
    wide = channels * expansion
    y = x if expansion == 1 else _relu6(graph, graph.conv(x, wide, gain=_RELU_GAIN))
    y = _relu6(graph, graph.conv(y, wide, 3, stride, depthwise=True, gain=_RELU_GAIN))
    # Sums of many blocks stay of one size only if each adds little.
    keep = stride == 1 and channels == out
    y = graph.conv(y, out, gain=0.5 if keep else 1.0)
    return graph.same("Add", [x, y]) if keep else y
