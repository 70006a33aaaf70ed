"""MXNet's operators of single-shot detectors.

Source: src/operator/contrib/multibox_prior.cc and multibox_detection.cc of
https://github.com/apache/mxnet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeinfer_export.sources.legacy import ops, ssd
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.mxnet.node import Node


def _prior(graph: Graph, node: Node) -> list[str]:
    """Anchors `(1, N, 4)`: corners relative to the picture."""
    attributes = node.attributes
    height, width = graph.hw(node.inputs[0])
    sizes, ratios = attributes.numbers("sizes", (1.0,)), attributes.numbers("ratios", (1.0,))
    if min(ratios) <= 0 or min(sizes) <= 0:
        graph.fail(f"its sizes are {sizes}, its ratios {ratios}.")
    steps, offsets = (
        attributes.numbers("steps", (-1, -1)),
        attributes.numbers("offsets", (0.5, 0.5)),
    )
    if len(steps) != 2 or len(offsets) != 2:
        graph.fail(f"its steps are {steps}, its offsets {offsets}.")
    step_y = steps[0] if steps[0] > 0 else 1 / height
    step_x = steps[1] if steps[1] > 0 else 1 / width
    middles = ssd.centres(graph, (height, width), (step_y, step_x), offsets)
    squeeze = height / width
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    boxes = [(s * squeeze * math.sqrt(r), s / math.sqrt(r)) for s, r in shapes]
    anchors = ssd.anchors(middles, boxes, attributes.flag("clip"))
    return [graph.weight(anchors[None], node.name)]


def _detection(graph: Graph, node: Node) -> list[str]:
    attributes = node.attributes
    if len(node.inputs) != 3:
        graph.fail(f"it has {len(node.inputs)} inputs, and needs scores, boxes and anchors.")
    scores, boxes, anchors = node.inputs
    priors = graph.constant(anchors, "anchors").reshape(-1, 4)
    if graph.sizes(boxes) != (1, priors.size) or graph.sizes(scores)[2] != len(priors):
        graph.fail(
            f"scores {list(graph.shape(scores))}, boxes {list(graph.shape(boxes))} and "
            f"{len(priors)} anchors do not belong together."
        )
    if attributes.integer("background_id") != 0:
        graph.fail(f"its background_id is {attributes.integer('background_id')}; 0 is supported.")
    variances = np.asarray(attributes.numbers("variances", (0.1, 0.1, 0.2, 0.2)), np.float32)
    deltas = graph.reshape(boxes, [1, len(priors), 4])
    decoded = ssd.decode_centres(graph, deltas, priors, variances)
    if attributes.flag("clip", True):
        decoded = graph.node("Clip", decoded, graph.weight(0.0), graph.weight(1.0))
    classes = graph.sizes(scores)[1]
    bounds = (graph.ints(1), graph.ints(classes), graph.ints(1))
    foreground = graph.node("Slice", scores, *bounds)
    # An anchor counts for its best class only.
    best = graph.node("ReduceMax", foreground, axes=[1], keepdims=1)
    chosen = graph.node("Cast", ops.at_least(graph, foreground, best), to=1)
    foreground = graph.node("Mul", foreground, chosen)
    if attributes.flag("force_suppress"):
        graph.fail("suppression across classes (force_suppress) is not supported.")
    rule = ssd.Suppression(
        score_threshold=attributes.number("threshold", 0.01),
        iou_threshold=attributes.number("nms_threshold", 0.5),
        per_class=attributes.integer("nms_topk", -1),
        keep=attributes.integer("nms_topk", -1),
    )
    height, width = graph.hw(graph.inputs[0])
    scale = (float(width), float(height))
    return [ssd.suppress(graph, decoded, foreground, rule, scale_xy=scale, name=node.name)]


OPERATORS: dict[str, Callable[[Graph, Node], list[str]]] = {
    "_contrib_MultiBoxDetection": _detection,
    "_contrib_MultiBoxPrior": _prior,
}
OWN_LAYOUT = frozenset(("_contrib_MultiBoxDetection",))
