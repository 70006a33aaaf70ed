"""Paddle's operators of detectors.

Source: paddle/fluid/operators/detection of https://github.com/PaddlePaddle/Paddle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer_export.sources.legacy import ops, ssd
from edgeinfer_export.sources.paddle.step import Step


def _prior_box(step: Step) -> None:
    """Anchors and variances `(H, W, A, 4)`, relative to the picture."""
    graph = step.graph
    count_hw = graph.hw(step.one("Input"))
    height, width = graph.hw(step.one("Image"))
    smallest, largest = step.numbers("min_sizes"), step.numbers("max_sizes")
    ratios = step.numbers("aspect_ratios", [1.0])
    if not smallest or (largest and len(largest) != len(smallest)) or min(ratios) <= 0:
        graph.fail(f"it has {len(smallest)} smallest and {len(largest)} largest sizes.")
    sizes = ssd.prior_sizes(
        smallest,
        largest,
        ratios,
        flip=step.flag("flip"),
        ratios_before_max=not step.flag("min_max_aspect_ratios_order"),
    )
    step_h = step.number("step_h") or height / count_hw[0]
    step_w = step.number("step_w") or width / count_hw[1]
    offset = step.number("offset", 0.5)
    steps = (step_h / height, step_w / width)
    middles = ssd.centres(graph, (count_hw[0], count_hw[1]), steps, (offset, offset))
    relative = [(item[0] / width, item[1] / height) for item in sizes]
    boxes = ssd.anchors(middles, relative, step.flag("clip"))
    shape = (*count_hw, len(sizes), 4)
    factors = np.asarray(step.numbers("variances", [0.1, 0.1, 0.2, 0.2]), np.float32)
    if factors.size != 4:
        graph.fail(f"it has {factors.size} variances, and needs 4.")
    step.give(graph.weight(boxes.reshape(shape), step.name), "Boxes")
    step.give(graph.weight(np.broadcast_to(factors, shape), step.name), "Variances")


def _box_coder(step: Step) -> None:
    graph = step.graph
    kind, axis = step.word("code_type", "encode_center_size"), step.integer("axis")
    if kind != "decode_center_size" or axis != 0 or not step.flag("box_normalized", True):
        graph.fail(f"its code_type is {kind}, its axis {axis}; decoding along axis 0 is supported.")
    priors = step.parameter("PriorBox").reshape(-1, 4)
    variances = np.asarray(step.numbers("variance"), np.float32)
    if step.has("PriorBoxVar"):
        variances = step.parameter("PriorBoxVar").reshape(-1, 4)
    deltas = step.one("TargetBox")
    if graph.sizes(deltas) != (1, len(priors), 4):
        graph.fail(f"{len(priors)} anchors do not fit boxes {list(graph.shape(deltas))}.")
    factors = variances if variances.size else None
    step.give(ssd.decode_centres(graph, deltas, priors, factors), "OutputBox")


def _yolo_box(step: Step) -> None:
    """Boxes in pixels of the model's input, whatever the size of the picture was.

    The program asks for that size to give boxes in the picture; here the runtime does that.
    """
    graph, tensor = step.graph, step.one("X")
    anchors = np.asarray(step.integers("anchors"), np.float32).reshape(-1, 2)
    classes, count = step.integer("class_num"), len(anchors)
    shape = graph.sizes(tensor)
    if step.flag("iou_aware") or shape[0] != 1 or shape[1] != count * (5 + classes):
        graph.fail(f"{count} anchors and {classes} classes do not fit the shape {list(shape)}.")
    cells, spread = (shape[2], shape[3]), step.number("scale_x_y", 1.0)
    ratio = step.integer("downsample_ratio", 32)
    split = graph.reshape(tensor, [1, count, 5 + classes, cells[0] * cells[1]])
    rows = graph.node("Transpose", split, perm=[0, 1, 3, 2])
    parts = graph.ints(2, 2, 1, classes)
    xy, wh, found, scores = graph.nodes(
        "Split", [rows, parts], ["xy", "wh", "objectness", "scores"], axis=3
    )
    y, x = np.divmod(np.arange(cells[0] * cells[1]), cells[1])
    corners = np.stack((x, y), axis=-1)[None, None] - (spread - 1) / 2
    scaled = graph.node("Mul", graph.node("Sigmoid", xy), graph.weight(spread * ratio))
    centre = graph.node("Add", scaled, graph.weight(corners * ratio))
    half = graph.node("Mul", graph.node("Exp", wh), graph.weight(anchors[None, :, None] / 2))
    boxes = graph.node(
        "Concat", graph.node("Sub", centre, half), graph.node("Add", centre, half), axis=3
    )
    if step.flag("clip_bbox", True):
        edges = np.asarray([cells[1], cells[0]] * 2) * ratio - 1
        boxes = graph.node("Max", boxes, graph.weight(0.0))
        boxes = graph.node("Min", boxes, graph.weight(edges))
    sure = graph.node("Sigmoid", found)
    limit = graph.weight(step.number("conf_thresh", 0.01))
    passed = graph.node("Cast", ops.at_least(graph, sure, limit), to=1)
    boxes = graph.node("Mul", boxes, passed)
    scores = graph.node("Mul", graph.node("Sigmoid", scores), graph.node("Mul", sure, passed))
    step.give(graph.reshape(boxes, [1, -1, 4], step.name), "Boxes")
    step.give(graph.reshape(scores, [1, -1, classes]), "Scores")


def _multiclass_nms(step: Step) -> None:
    graph, boxes, scores = step.graph, step.one("BBoxes"), step.one("Scores")
    rule = ssd.Suppression(
        score_threshold=max(0.0, step.number("score_threshold")),
        iou_threshold=step.number("nms_threshold", 0.3),
        per_class=step.integer("nms_top_k", -1),
        keep=step.integer("keep_top_k", -1),
        background=step.integer("background_label"),
    )
    scale = None
    if step.flag("normalized", True):
        height, width = graph.hw(graph.inputs[0])
        scale = (float(width), float(height))
    step.give(ssd.suppress(graph, boxes, scores, rule, scale_xy=scale, name=step.name))


OPERATORS: dict[str, Callable[[Step], None]] = {
    "box_coder": _box_coder,
    "multiclass_nms": _multiclass_nms,
    "multiclass_nms2": _multiclass_nms,
    "multiclass_nms3": _multiclass_nms,
    "prior_box": _prior_box,
    "yolo_box": _yolo_box,
}
OWN_LAYOUT = frozenset(("multiclass_nms", "multiclass_nms2", "multiclass_nms3"))
