"""Darknet's detection layers, decoded in the graph to `[1, N, 5 + classes]`.

Sources: Redmon and Farhadi, https://arxiv.org/abs/1612.08242 ([region]) and
https://arxiv.org/abs/1804.02767 ([yolo]); Wang et al., https://arxiv.org/abs/2011.08036
(new_coords).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.darknet.layers import Net
from edgeinfer_export.sources.darknet.network import Section
from edgeinfer_export.sources.legacy.graph import Graph


def _yolo(net: Net, section: Section) -> str:
    graph = net.graph
    anchors = np.asarray(section.numbers("anchors"), np.float64)
    count = section.integer("num", 1)
    mask = [int(item) for item in section.numbers("mask")] or list(range(count))
    if anchors.size < 2 or anchors.size % 2 or not all(0 <= i < anchors.size // 2 for i in mask):
        graph.fail(f"its mask {mask} does not fit its {anchors.size} anchor values.")
    chosen = anchors.reshape(-1, 2)[mask]
    return _head(net, section, chosen)


def _region(net: Net, section: Section) -> str:
    """YOLOv2: anchors in cells, one softmax over the classes."""
    graph, count = net.graph, section.integer("num", 1)
    if section.word("tree") or section.word("map") or section.integer("coords", 4) != 4:
        graph.fail("tree, map and coords other than 4 are not supported.")
    anchors = np.asarray(section.numbers("anchors"), np.float64)
    if anchors.size != 2 * count:
        graph.fail(f"it has {anchors.size} anchor values for {count} anchors.")
    cells = np.asarray(graph.sizes(net.last)[:1:-1])
    picture = np.asarray(graph.sizes(graph.inputs[0])[:1:-1])
    return _head(net, section, anchors.reshape(-1, 2) * (picture / cells))


def _head(net: Net, section: Section, anchors: Array) -> str:
    """Rows of centre, size, objectness and class scores.

    Args:
        anchors: `(A, 2)` width and height in pixels of the input.
    """
    graph, tensor = net.graph, net.last
    classes, count = section.integer("classes", 20), len(anchors)
    _, channels, height, width = graph.sizes(tensor)
    if classes < 1 or channels != count * (5 + classes):
        graph.fail(
            f"{count} anchors and {classes} classes need {count * (5 + classes)} channels, the "
            f"layer before it gives {channels}: set its filters."
        )
    picture_hw = graph.hw(graph.inputs[0])
    spread = section.number("scale_x_y", 1.0)
    region, new = section.kind == "region", section.integer("new_coords") > 0
    softmax = region and section.integer("softmax") > 0
    net.grids.append(
        {
            "layer": section.index,
            "anchors": anchors.tolist(),
            "classes": classes,
            "scale_x_y": spread,
            "new_coords": new,
            "softmax": softmax,
        }
    )
    split = graph.reshape(tensor, [1, count, 5 + classes, height * width])
    rows = graph.node("Transpose", split, perm=[0, 3, 1, 2])
    parts = graph.ints(2, 2, 1, classes)
    xy, wh, found, scores = graph.nodes(
        "Split", [rows, parts], ["xy", "wh", "objectness", "scores"], axis=3
    )
    if not new:
        xy, found = graph.node("Sigmoid", xy), graph.node("Sigmoid", found)
        scores = graph.node("Softmax", scores, axis=3) if softmax else graph.node("Sigmoid", scores)
        wh = graph.node("Exp", wh)
    else:
        wh = graph.node("Mul", graph.node("Mul", wh, wh), graph.weight(4.0))
    centre = _centres(graph, xy, (height, width), (picture_hw[0], picture_hw[1]), spread)
    size = graph.node("Mul", wh, graph.weight(anchors[None, None]))
    joined = graph.node("Concat", centre, size, found, scores, axis=3)
    net.boxes.append(graph.reshape(joined, [1, -1, 5 + classes], f"{section.kind}_{section.index}"))
    return net.boxes[-1]


def _centres(
    graph: Graph, xy: str, cells_hw: tuple[int, int], picture_hw: tuple[int, int], spread: float
) -> str:
    """Centres in pixels, from places within cells."""
    y, x = np.divmod(np.arange(cells_hw[0] * cells_hw[1]), cells_hw[1])
    corners = np.stack((x, y), axis=-1)[None, :, None] - (spread - 1) / 2
    step = np.asarray((picture_hw[1] / cells_hw[1], picture_hw[0] / cells_hw[0]))
    scaled = graph.node("Mul", xy, graph.weight(spread * step))
    return graph.node("Add", scaled, graph.weight(corners * step))


LAYERS: dict[str, Callable[[Net, Section], str]] = {
    "region": _region,
    "yolo": _yolo,
}
