"""MobileNetV3-Small's architecture with random weights.

Howard et al. 2019, https://arxiv.org/abs/1905.02244, table 2, with squeeze-and-excite as in
torchvision: 2.5 million parameters, 56 million multiply-adds at 224.
"""

from __future__ import annotations

import math

from edgeinfer_bench.models.graph import Graph, check_size
from edgeinfer_bench.models.specs import classifier

_CLASSES = 1000
# Kernel, expanded width, width, squeeze-and-excite, hard-swish (else ReLU), stride.
_BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
# Keeps the second moment through ReLU (He et al. 2015), which hard-swish is for inputs well above
# 1; the first layer brings normalized pictures there.
_GAIN, _FIRST_GAIN = math.sqrt(2), 3.0


def build_mobilenet_v3(size: int) -> bytes:
    """The ONNX file: `input (1, 3, size, size)` to `logits (1, 1000)`.

    Raises:
        UsageError: for a size that is no multiple of 32.
    """
    check_size(size)
    graph = Graph(seed=3)
    x = _act(graph, graph.conv(graph.picture("input", 3), 16, 3, 2, gain=_FIRST_GAIN), True)
    channels = 16
    for block in _BLOCKS:
        x = _block(graph, x, channels, *block)
        channels = block[2]
    x = _act(graph, graph.conv(x, 576, gain=_GAIN), True)
    wide = graph.node("HardSwish", [graph.dense(graph.pooled(x), 576, 1024, gain=_GAIN)])
    logits = graph.dense(wide, 1024, _CLASSES, gain=0.5)
    return graph.model(
        "mobilenet-v3-small-like",
        ("input", (1, 3, size, size)),
        (logits, "logits", (1, _CLASSES)),
        classifier("input", size, _CLASSES),
    )


def _act(graph: Graph, x: str, swish: bool) -> str:
    return graph.same("HardSwish" if swish else "Relu", [x])


def _squeeze(graph: Graph, x: str, width: int) -> str:
    """Every channel times a weight in [0, 1] that the means of all channels decide."""
    # A quarter of the width, to a multiple of 8 that is not below nine tenths of it.
    narrow = max(8, (width // 4 + 4) // 8 * 8)
    narrow += 8 if narrow < 0.9 * (width // 4) else 0
    y = _act(graph, graph.conv(graph.same("GlobalAveragePool", [x]), narrow, gain=0.2), False)
    gate = graph.same("HardSigmoid", [graph.conv(y, width, gain=0.5)], alpha=1 / 6, beta=0.5)
    return graph.same("Mul", [x, gate])


def _block(
    graph: Graph,
    x: str,
    channels: int,
    kernel: int,
    wide: int,
    out: int,
    squeeze: bool,
    swish: bool,
    stride: int,
) -> str:
    y = x if wide == channels else _act(graph, graph.conv(x, wide, gain=_GAIN), swish)
    y = graph.conv(y, wide, kernel, stride, depthwise=True, gain=_GAIN)
    y = _act(graph, y, swish)
    # Sums of many blocks stay of one size only if each adds little.
    keep = stride == 1 and channels == out
    gain = 0.5 if keep else _GAIN
    if squeeze:
        # The gate halves what passes.
        y, gain = _squeeze(graph, y, wide), 2 * gain
    y = graph.conv(y, out, gain=gain)
    return graph.same("Add", [x, y]) if keep else y
