"""DeiT-Tiny's architecture with random weights: a small transformer encoder on a picture's patches.

Touvron et al. 2021, https://arxiv.org/abs/2012.12877, table 1, without distillation: 12 layers of
192 dimensions in 3 heads, patches of 16: 5.7 million parameters, 1.26 billion multiply-adds at 224.
"""

from __future__ import annotations

import math

from edgeinfer_bench.models.graph import Graph, check_size
from edgeinfer_bench.models.specs import classifier

_CLASSES = 1000
_LAYERS, _WIDTH, _HEADS, _PATCH = 12, 192, 3, 16


def build_deit_tiny(size: int) -> bytes:
    """The ONNX file: `input (1, 3, size, size)` to `logits (1, 1000)`.

    Raises:
        UsageError: for a size that is no multiple of 32.
    """
    check_size(size)
    graph = Graph(seed=12)
    count = (size // _PATCH) ** 2
    patches = graph.conv(graph.picture("input", 3), _WIDTH, _PATCH, _PATCH, pad=0)
    flat = graph.node("Reshape", [patches, graph.integers(1, _WIDTH, count)])
    rows = graph.node("Transpose", [flat], perm=[0, 2, 1])
    x = graph.node("Concat", [graph.learned((1, 1, _WIDTH), 0.5), rows], axis=1)
    x = graph.node("Add", [x, graph.learned((1, count + 1, _WIDTH), 0.5)])
    for _ in range(_LAYERS):
        x = graph.node("Add", [x, _attention(graph, _normal(graph, x), count + 1)])
        x = graph.node("Add", [x, _mlp(graph, _normal(graph, x))])
    first = graph.node("Gather", [_normal(graph, x), graph.integers(0)], axis=1)
    token = graph.node("Reshape", [first, graph.integers(1, _WIDTH)])
    logits = graph.dense(token, _WIDTH, _CLASSES, gain=3.0)
    return graph.model(
        "deit-tiny-like",
        ("input", (1, 3, size, size)),
        (logits, "logits", (1, _CLASSES)),
        classifier("input", size, _CLASSES),
    )


def _normal(graph: Graph, x: str) -> str:
    scale, shift = graph.learned((_WIDTH,), 0.1, 1.0), graph.learned((_WIDTH,), 0.1)
    return graph.node("LayerNormalization", [x, scale, shift], axis=-1, epsilon=1e-6)


def _attention(graph: Graph, x: str, count: int) -> str:
    """Every token asks every other, in 3 heads (Vaswani et al. 2017)."""
    each = _WIDTH // _HEADS
    joined = graph.linear(x, _WIDTH, 3 * _WIDTH)
    apart = graph.node("Reshape", [joined, graph.integers(1, count, 3, _HEADS, each)])
    three = graph.nodes("Split", [apart, graph.integers(1, 1, 1)], 3, axis=2)
    query, key, value = (graph.node("Squeeze", [part, graph.integers(2)]) for part in three)
    # The heads before the tokens; the keys transposed at once.
    query = graph.node("Transpose", [query], perm=[0, 2, 1, 3])
    key = graph.node("Transpose", [key], perm=[0, 2, 3, 1])
    value = graph.node("Transpose", [value], perm=[0, 2, 1, 3])
    alike = graph.node("MatMul", [query, key])
    shares = graph.node(
        "Softmax", [graph.node("Mul", [alike, graph.number(1 / math.sqrt(each))])], axis=-1
    )
    heads = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    flat = graph.node("Reshape", [heads, graph.integers(1, count, _WIDTH)])
    return graph.linear(flat, _WIDTH, _WIDTH)


def _mlp(graph: Graph, x: str) -> str:
    """To four times the width and back, with GELU (Hendrycks and Gimpel 2016) between."""
    y = graph.linear(x, _WIDTH, 4 * _WIDTH)
    scaled = graph.node("Mul", [y, graph.number(1 / math.sqrt(2))])
    grown = graph.node("Add", [graph.node("Erf", [scaled]), graph.number(1.0)])
    gelu = graph.node("Mul", [graph.node("Mul", [y, grown]), graph.number(0.5)])
    return graph.linear(gelu, 4 * _WIDTH, _WIDTH)
