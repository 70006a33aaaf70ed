"""YOLOX-Nano's architecture with random weights.

Ge et al. 2021, https://arxiv.org/abs/2107.08430: CSPDarknet, PAFPN and the decoupled head at depth
0.33 and width 0.25 with depthwise separable convolutions: 0.91 million parameters and 1.08 GFLOPs
at 416 (table 3). Takes pixels in [0, 255], BGR, padded below and to the right.
"""

from __future__ import annotations

from edgeinfer_bench.models.graph import Graph, check_size
from edgeinfer_bench.models.specs import detector

_CLASSES = 80
_STRIDES = (8, 16, 32)
# Width of the first layer and of the head.
_BASE, _HEAD = 16, 64
# Keeps the features between 1 and 50 all the way; SiLU passes 0.36 to 0.5 of the second moment.
# The first layer takes bytes.
_GAIN, _FIRST_GAIN = 1.5, 0.15
# Brings the features' size back to what a trained head's outputs have, and a picture's scores
# above 0.25 to a handful.
_BOX_GAIN, _OBJECT_GAIN, _OBJECT_BIAS, _CLASS_GAIN, _CLASS_BIAS = 0.015, 0.06, -3.0, 0.02, -1.0


def build_yolox_nano(size: int) -> bytes:
    """The ONNX file: `images (1, 3, size, size)` to `output (1, N, 85)`.

    Raises:
        UsageError: for a size that is no multiple of 32.
    """
    check_size(size)
    graph = Graph(seed=10)
    levels = _neck(graph, *_backbone(graph, graph.picture("images", 3)))
    rows = [_head(graph, level) for level in levels]
    joined = graph.node("Concat", rows, axis=2)
    result = graph.node("Transpose", [joined], perm=[0, 2, 1])
    count = sum((size // stride) ** 2 for stride in _STRIDES)
    return graph.model(
        "yolox-nano-like",
        ("images", (1, 3, size, size)),
        (result, "output", (1, count, 5 + _CLASSES)),
        detector("images", size, "yolox", _CLASSES, resize="pad-br", color="bgr", scale=1.0),
    )


def _conv(
    graph: Graph, x: str, out: int, kernel: int = 1, stride: int = 1, gain: float = _GAIN
) -> str:
    return graph.silu(graph.conv(x, out, kernel, stride, gain=gain))


def _separable(graph: Graph, x: str, out: int, stride: int = 1) -> str:
    """A 3x3 convolution in two: within channels, then across them."""
    within = graph.conv(x, graph.channels(x), 3, stride, depthwise=True, gain=_GAIN)
    return _conv(graph, graph.silu(within), out)


def _csp(graph: Graph, x: str, out: int, repeats: int, *, shortcut: bool) -> str:
    half = out // 2
    y, beside = _conv(graph, x, half), _conv(graph, x, half)
    for _ in range(repeats):
        inner = _separable(graph, _conv(graph, y, half), half)
        y = graph.same("Add", [inner, y]) if shortcut else inner
    return _conv(graph, graph.concat([y, beside]), out)


def _focus(graph: Graph, x: str) -> str:
    """Every other pixel of every other row, four times: `(1, 12, size / 2, size / 2)`."""
    end = 2**31 - 1
    parts = [
        graph.same(
            "Slice",
            [
                x,
                graph.integers(top, left),
                graph.integers(end, end),
                graph.integers(2, 3),
                graph.integers(2, 2),
            ],
        )
        for left in (0, 1)
        for top in (0, 1)
    ]
    return graph.concat(parts)


def _spp(graph: Graph, x: str, out: int) -> str:
    narrow = _conv(graph, x, out // 2)
    pooled = [graph.max_pool(narrow, kernel) for kernel in (5, 9, 13)]
    return _conv(graph, graph.concat([narrow, *pooled]), out)


def _backbone(graph: Graph, x: str) -> tuple[str, str, str]:
    """Features at strides 8, 16 and 32."""
    x = _conv(graph, _focus(graph, x), _BASE, 3, 1, _FIRST_GAIN)
    x = _csp(graph, _separable(graph, x, 2 * _BASE, 2), 2 * _BASE, 1, shortcut=True)
    at8 = _csp(graph, _separable(graph, x, 4 * _BASE, 2), 4 * _BASE, 3, shortcut=True)
    at16 = _csp(graph, _separable(graph, at8, 8 * _BASE, 2), 8 * _BASE, 3, shortcut=True)
    wide = 16 * _BASE
    at32 = _csp(graph, _spp(graph, _separable(graph, at16, wide, 2), wide), wide, 1, shortcut=False)
    return at8, at16, at32


def _neck(graph: Graph, at8: str, at16: str, at32: str) -> tuple[str, str, str]:
    narrow, middle, wide = 4 * _BASE, 8 * _BASE, 16 * _BASE
    top = _conv(graph, at32, middle)
    up16 = _csp(graph, graph.concat([graph.upsample(top), at16]), middle, 1, shortcut=False)
    beside = _conv(graph, up16, narrow)
    out8 = _csp(graph, graph.concat([graph.upsample(beside), at8]), narrow, 1, shortcut=False)
    down16 = graph.concat([_separable(graph, out8, narrow, 2), beside])
    out16 = _csp(graph, down16, middle, 1, shortcut=False)
    down32 = graph.concat([_separable(graph, out16, middle, 2), top])
    return out8, out16, _csp(graph, down32, wide, 1, shortcut=False)


def _head(graph: Graph, level: str) -> str:
    """`(1, 85, cells)`: offsets and logarithms of sizes, objectness, class scores."""
    x = _conv(graph, level, _HEAD)
    label = _separable(graph, _separable(graph, x, _HEAD), _HEAD)
    box = _separable(graph, _separable(graph, x, _HEAD), _HEAD)
    both = graph.concat(
        [
            graph.conv(box, 4, gain=_BOX_GAIN, bias=0.0),
            graph.same("Sigmoid", [graph.conv(box, 1, gain=_OBJECT_GAIN, bias=_OBJECT_BIAS)]),
            graph.same(
                "Sigmoid", [graph.conv(label, _CLASSES, gain=_CLASS_GAIN, bias=_CLASS_BIAS)]
            ),
        ]
    )
    return graph.node("Reshape", [both, graph.integers(1, 5 + _CLASSES, -1)])
