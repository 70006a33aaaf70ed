"""Caffe's layers of single-shot detectors.

Source: the SSD branch of Caffe, Liu et al. 2016, https://arxiv.org/abs/1512.02325.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer_export.sources.caffe.network import Layer
from edgeinfer_export.sources.legacy import ssd
from edgeinfer_export.sources.legacy.graph import Graph


def _prior_box(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """Anchors `(1, 2, N * 4)`: corners, then variances, both relative to the picture."""
    fields = layer.part("prior_box")
    if len(inputs) != 2:
        graph.fail(f"it has {len(inputs)} inputs, and needs the map and the picture.")
    count_hw, picture_hw = (graph.hw(item) for item in inputs)
    size = fields.integer("img_size")
    height = fields.integer("img_h", size) or picture_hw[0]
    width = fields.integer("img_w", size) or picture_hw[1]
    step = fields.number("step")
    step_h = fields.number("step_h", step) or height / count_hw[0]
    step_w = fields.number("step_w", step) or width / count_hw[1]
    smallest, largest = fields.floats("min_size"), fields.floats("max_size")
    ratios = fields.floats("aspect_ratio")
    if not smallest or (largest and len(largest) != len(smallest)) or min(ratios, default=1) <= 0:
        graph.fail(f"it has {len(smallest)} smallest and {len(largest)} largest sizes.")
    sizes = ssd.prior_sizes(smallest, largest, ratios, flip=fields.flag("flip", True))
    offset = fields.number("offset", 0.5)
    middles = ssd.centres(
        graph, (count_hw[0], count_hw[1]), (step_h / height, step_w / width), (offset, offset)
    )
    relative = [(item[0] / width, item[1] / height) for item in sizes]
    boxes = ssd.anchors(middles, relative, fields.flag("clip"))
    factors = fields.floats("variance") or [0.1]
    if len(factors) not in (1, 4):
        graph.fail(f"it has {len(factors)} variances, and needs 1 or 4.")
    variances = np.broadcast_to(np.asarray(factors, np.float32), boxes.shape)
    both = np.stack((boxes.reshape(-1), variances.reshape(-1)))[None]
    return [graph.weight(both, layer.tops[0])]


def _detection_output(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("detection_output")
    if len(inputs) != 3:
        graph.fail(f"it has {len(inputs)} inputs; boxes, scores and anchors are supported.")
    if not fields.flag("share_location", True):
        graph.fail("boxes of their own for each class (share_location: false) are not supported.")
    code = fields.word("code_type", "CORNER")
    if code not in ("CENTER_SIZE", "2"):
        graph.fail(f"its code_type is {code}; CENTER_SIZE is supported.")
    priors = graph.constant(inputs[2], "anchors")
    boxes, variances = priors[0, 0].reshape(-1, 4), priors[0, 1].reshape(-1, 4)
    total, classes = len(boxes), fields.integer("num_classes")
    if fields.flag("variance_encoded_in_target"):
        variances = np.ones_like(variances)
    if graph.sizes(inputs[0]) != (1, total * 4) or graph.sizes(inputs[1]) != (1, total * classes):
        graph.fail(
            f"boxes {list(graph.shape(inputs[0]))}, scores {list(graph.shape(inputs[1]))} and "
            f"{total} anchors of {classes} classes do not belong together."
        )
    deltas = graph.reshape(inputs[0], [1, total, 4])
    decoded = ssd.decode_centres(graph, deltas, boxes, variances)
    if fields.flag("clip"):
        decoded = graph.node("Clip", decoded, graph.weight(0.0), graph.weight(1.0))
    scores = graph.reshape(inputs[1], [1, total, classes])
    scores = graph.node("Transpose", scores, perm=[0, 2, 1])
    nms = fields.part("nms_param")
    rule = ssd.Suppression(
        score_threshold=max(0.0, fields.number("confidence_threshold", 0.01)),
        iou_threshold=nms.number("nms_threshold", 0.3),
        per_class=nms.integer("top_k", -1),
        keep=fields.integer("keep_top_k", -1),
        background=fields.integer("background_label_id"),
    )
    height, width = graph.hw(graph.inputs[0])
    name = layer.tops[0]
    scale = (float(width), float(height))
    return [ssd.suppress(graph, decoded, scores, rule, scale_xy=scale, name=name)]


LAYERS: dict[str, Callable[[Graph, Layer, list[str]], list[str]]] = {
    "DetectionOutput": _detection_output,
    "PriorBox": _prior_box,
}
