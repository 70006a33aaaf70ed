"""ResNet-50's architecture with random weights.

He et al. 2015, https://arxiv.org/abs/1512.03385, table 1, with the stride in the 3x3 convolution
as torchvision has it (v1.5): 25.5 million parameters with batch normalization folded in, 4.09
billion multiply-adds at 224.
"""

from __future__ import annotations

import math

from edgeinfer_bench.models.graph import Graph, check_size
from edgeinfer_bench.models.specs import classifier

_CLASSES = 1000
# Inner width, blocks, stride of the first; the output is four times as wide.
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
# Keeps the variance of a normal input through ReLU (He et al. 2015).
_GAIN = math.sqrt(2)


def build_resnet50(size: int) -> bytes:
    """The ONNX file: `input (1, 3, size, size)` to `logits (1, 1000)`.

    Raises:
        UsageError: for a size that is no multiple of 32.
    """
    check_size(size)
    graph = Graph(seed=50)
    x = _relu(graph, graph.conv(graph.picture("input", 3), 64, 7, 2, gain=_GAIN))
    x = graph.max_pool(x, 3, 2)
    for width, blocks, stride in _STAGES:
        for index in range(blocks):
            x = _block(graph, x, width, stride if index == 0 else 1, first=index == 0)
    logits = graph.dense(graph.pooled(x), 2048, _CLASSES, gain=2.0)
    return graph.model(
        "resnet50-like",
        ("input", (1, 3, size, size)),
        (logits, "logits", (1, _CLASSES)),
        classifier("input", size, _CLASSES),
    )


def _relu(graph: Graph, x: str) -> str:
    return graph.same("Relu", [x])


def _block(graph: Graph, x: str, width: int, stride: int, *, first: bool) -> str:
    y = _relu(graph, graph.conv(x, width, gain=_GAIN))
    y = _relu(graph, graph.conv(y, width, 3, stride, gain=_GAIN))
    # Sums of many blocks stay of one size only if each adds little.
    y = graph.conv(y, 4 * width, gain=0.5)
    if first:
        x = graph.conv(x, 4 * width, 1, stride, gain=1.0)
    return _relu(graph, graph.same("Add", [y, x]))
