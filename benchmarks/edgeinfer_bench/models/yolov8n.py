"""YOLOv8n's architecture with random weights.

Layers, widths and head follow `yolov8.yaml` at scale n and the modules C2f, SPPF and Detect as the
Ultralytics documentation describes them, https://docs.ultralytics.com/models/yolov8/.
"""

from __future__ import annotations

import math

import numpy as np

from edgeinfer_bench.models.graph import Graph, check_size
from edgeinfer_bench.models.specs import detector

_CLASSES = 80
_BINS = 16
_STRIDES = (8, 16, 32)
# Keeps the second moment through ReLU (He et al. 2015), which SiLU is for inputs well above 1; the
# first layer brings pictures in [0, 1] there.
_GAIN, _FIRST_GAIN = math.sqrt(2), 12.0
# Brings the features' size, about 20, back to 1.
_BOX_GAIN = 0.05
# Chosen so that a picture gives a handful of scores above 0.25; half the size has a quarter of the
# cells, and the best of them lies lower.
_CLASS_GAIN, _CLASS_BIAS, _BIAS_PER_HALVING = 0.07, -8.3, 1.5


def build_yolov8n(size: int) -> bytes:
    """The ONNX file: `images (1, 3, size, size)` to `output0 (1, 84, N)`.

    Raises:
        UsageError: for a size that is no multiple of 32.
    """
    check_size(size)
    graph = Graph(seed=8)
    levels = _neck(graph, *_backbone(graph, graph.picture("images", 3)))
    boxes, scores = _head(graph, levels, size)
    count = sum((size // stride) ** 2 for stride in _STRIDES)
    result = graph.node("Concat", [boxes, scores], axis=1)
    return graph.model(
        "yolov8n-like",
        ("images", (1, 3, size, size)),
        (result, "output0", (1, 4 + _CLASSES, count)),
        detector("images", size, "yolov8", _CLASSES),
    )


def _conv(
    graph: Graph, x: str, out: int, kernel: int = 1, stride: int = 1, gain: float = _GAIN
) -> str:
    return graph.silu(graph.conv(x, out, kernel, stride, gain=gain))


def _c2f(graph: Graph, x: str, out: int, repeats: int, *, shortcut: bool) -> str:
    parts = graph.halves(_conv(graph, x, out))
    for _ in range(repeats):
        y = _conv(graph, _conv(graph, parts[-1], out // 2, 3), out // 2, 3)
        parts.append(graph.same("Add", [parts[-1], y]) if shortcut else y)
    return _conv(graph, graph.concat(parts), out)


def _sppf(graph: Graph, x: str, out: int) -> str:
    pooled = [_conv(graph, x, out // 2)]
    for _ in range(3):
        pooled.append(graph.max_pool(pooled[-1], 5))
    return _conv(graph, graph.concat(pooled), out)


def _backbone(graph: Graph, x: str) -> tuple[str, str, str]:
    """Features at strides 8, 16 and 32."""
    x = _conv(graph, _conv(graph, x, 16, 3, 2, _FIRST_GAIN), 32, 3, 2)
    x = _c2f(graph, x, 32, 1, shortcut=True)
    at8 = _c2f(graph, _conv(graph, x, 64, 3, 2), 64, 2, shortcut=True)
    at16 = _c2f(graph, _conv(graph, at8, 128, 3, 2), 128, 2, shortcut=True)
    at32 = _c2f(graph, _conv(graph, at16, 256, 3, 2), 256, 1, shortcut=True)
    return at8, at16, _sppf(graph, at32, 256)


def _neck(graph: Graph, at8: str, at16: str, at32: str) -> tuple[str, str, str]:
    up16 = _c2f(graph, graph.concat([graph.upsample(at32), at16]), 128, 1, shortcut=False)
    out8 = _c2f(graph, graph.concat([graph.upsample(up16), at8]), 64, 1, shortcut=False)
    down16 = graph.concat([_conv(graph, out8, 64, 3, 2), up16])
    out16 = _c2f(graph, down16, 128, 1, shortcut=False)
    down32 = graph.concat([_conv(graph, out16, 128, 3, 2), at32])
    return out8, out16, _c2f(graph, down32, 256, 1, shortcut=False)


def _head(graph: Graph, levels: tuple[str, str, str], size: int) -> tuple[str, str]:
    """Boxes `(1, 4, N)` as centre and size in pixels, and scores `(1, 80, N)`."""
    rows = []
    class_bias = _CLASS_BIAS + _BIAS_PER_HALVING * math.log2(640 / size)
    for x in levels:
        box = _conv(graph, _conv(graph, x, 64, 3), 64, 3)
        label = _conv(graph, _conv(graph, x, 80, 3), 80, 3)
        both = graph.concat(
            [
                graph.conv(box, 4 * _BINS, gain=_BOX_GAIN, bias=0.0),
                graph.conv(label, _CLASSES, gain=_CLASS_GAIN, bias=class_bias),
            ]
        )
        rows.append(graph.node("Reshape", [both, graph.integers(1, 4 * _BINS + _CLASSES, -1)]))
    joined = graph.node("Concat", rows, axis=2)
    lengths = graph.integers(4 * _BINS, _CLASSES)
    bins, classes = graph.nodes("Split", [joined, lengths], 2, axis=1)
    return _boxes(graph, bins, size), graph.node("Sigmoid", [classes])


def _boxes(graph: Graph, bins: str, size: int) -> str:
    """Distances as expectations over 16 bins (distribution focal loss, Li et al. 2020)."""
    anchors, strides = _anchors(size)
    apart = graph.node("Reshape", [bins, graph.integers(1, 4, _BINS, anchors.shape[1])])
    shares = graph.node("Softmax", [graph.node("Transpose", [apart], perm=[0, 2, 1, 3])], axis=1)
    values = graph.tensor(np.arange(_BINS, dtype=np.float32).reshape(1, _BINS, 1, 1))
    expected = graph.node("Conv", [shares, values], kernel_shape=[1, 1])
    distances = graph.node("Reshape", [expected, graph.integers(1, 4, anchors.shape[1])])
    before, after = graph.nodes("Split", [distances, graph.integers(2, 2)], 2, axis=1)
    grid = graph.tensor(anchors[None])
    low, high = graph.node("Sub", [grid, before]), graph.node("Add", [grid, after])
    centre = graph.node("Mul", [graph.node("Add", [low, high]), graph.number(0.5)])
    boxes = graph.node("Concat", [centre, graph.node("Sub", [high, low])], axis=1)
    return graph.node("Mul", [boxes, graph.tensor(strides[None])])


def _anchors(
    size: int,
) -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    np.ndarray[tuple[int, ...], np.dtype[np.float32]],
]:
    """Cell centres `(2, N)` in cells and strides `(1, N)` in pixels."""
    points, strides = [], []
    for stride in _STRIDES:
        side = size // stride
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) + 0.5
        points.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full((1, side * side), stride, np.float32))
    return np.concatenate(points, 1), np.concatenate(strides, 1)
