"""Decode and suppress a detector's boxes in the graph: the output becomes `[1, N, 6]`.

The arithmetic is that of `edgeinfer.heads`: the best class of each prediction counts, boxes that
overlap a better one of their class by more than the threshold go, the best N of what is left stay.
Rows that nothing fills are zeros, so that the shape is fixed and every runtime can plan for it.
`NonMaxSuppression` is standard since opset 10 (https://onnx.ai/onnx/operators/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.heads import DEFAULT_THRESHOLDS
from edgeinfer.heads.objectness import grid
from edgeinfer.preprocess.surgery import Names, add_constant, rewire
from edgeinfer.spec import ModelSpec
from edgeinfer_export.steps.clean import opset_of

if TYPE_CHECKING:
    import onnx

    from edgeinfer.frames import Array

HEADS = ("yolov8", "yolov5", "yolox")
OUTPUT = "detections"
# Squeeze and ReduceSum with axes as an input, and NonMaxSuppression in its last form.
MIN_OPSET = 13
_ROW = 6


def embed_nms(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """A copy whose only output holds rows of x1, y1, x2, y2 in model pixels, score, class.

    Args:
        model: its output is as `spec.head` says, for a batch of one.
        spec: its head is one of `HEADS`; its thresholds are written into the graph.

    Raises:
        SpecError: if the output's shape is open, or holds a batch.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if opset_of(changed) < MIN_OPSET:
        raise SpecError(
            f"NMS can go into the graph from opset {MIN_OPSET} on; this model has "
            f"{opset_of(changed)}. Leave out --embed-nms, or export the model anew."
        )
    (given,) = changed.graph.output
    shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
    if len(shape) != 3 or shape[0] not in (0, 1) or not (shape[1] and shape[2]):
        raise SpecError(
            f"NMS can go into the graph where the output's shape is known and holds one picture; "
            f"'{given.name}' is {shape}. Export with --input-shape NAME:1x3xHxW."
        )
    build = _Build(changed)
    raw = build.cast(given, shape)
    boxes, scores, classes = _DECODERS[spec.head](build, raw, shape, spec)
    limits = {**DEFAULT_THRESHOLDS, **spec.thresholds}
    _suppress(build, boxes, scores, classes, _class_count(spec.head, shape), limits)
    del changed.graph.output[:]
    rows = int(limits["max_detections"])
    changed.graph.output.append(
        onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [1, rows, _ROW])
    )
    return changed


def _class_count(head: str, shape: list[int]) -> int:
    return shape[1] - 4 if head == "yolov8" else shape[2] - 5


class _Build:
    """Adds nodes at a graph's end."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._names = Names(model.graph)
        if any(value.name == OUTPUT for value in model.graph.output):
            rewire(model.graph, OUTPUT, self._names.fresh(f"{OUTPUT}_raw"))

    def add(self, op_type: str, *inputs: str | Array, outputs: int = 1, **attributes: int) -> str:
        """Add a node and name its output; arrays become constants.

        Returns:
            The name of the first output; of others, it with ``_1``, ``_2``, ... appended.
        """
        import onnx

        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        made = self._names.fresh(f"nms_{op_type}")
        more = [f"{made}_{index}" for index in range(1, outputs)]
        node = onnx.helper.make_node(op_type, names, [made, *more], name=f"{made}_node")
        for key, value in attributes.items():
            node.attribute.append(onnx.helper.make_attribute(key, value))
        self._model.graph.node.append(node)
        return made

    def constant(self, values: Array) -> str:
        name = self._names.fresh("nms_constant")
        add_constant(self._model, name, values)
        return name

    def cast(self, given: onnx.ValueInfoProto, shape: list[int]) -> str:
        """The graph's output as float32."""
        import onnx

        if given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            return str(given.name)
        return self.add("Cast", given.name, to=onnx.TensorProto.FLOAT)

    def columns(self, rows: str, first: int, end: int) -> str:
        """Columns of `(N, C)`."""
        return self.add("Slice", rows, _ints(first), _ints(end), _ints(1))

    def name_last(self, name: str) -> None:
        """Call the last node's output as the graph's is called."""
        self._model.graph.node[-1].output[0] = name


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _corners(build: _Build, boxes: str) -> str:
    """`(N, 4)` centre and size to corners."""
    centres = build.columns(boxes, 0, 2)
    half = build.add("Mul", build.columns(boxes, 2, 4), np.array(0.5, np.float32))
    low, high = build.add("Sub", centres, half), build.add("Add", centres, half)
    return build.add("Concat", low, high, axis=1)


def _best(build: _Build, scores: str) -> tuple[str, str]:
    """Score and number of the best class: `(N, 1)` each."""
    numbers = build.add("ArgMax", scores, axis=1, keepdims=1)
    return build.add("GatherElements", scores, numbers, axis=1), numbers


def _yolov8(build: _Build, raw: str, shape: list[int], spec: ModelSpec) -> tuple[str, str, str]:
    columns = build.add("Squeeze", raw, _ints(0))
    rows = build.add("Transpose", columns)
    best, numbers = _best(build, build.columns(rows, 4, shape[1]))
    return _corners(build, build.columns(rows, 0, 4)), best, numbers


def _yolov5(build: _Build, raw: str, shape: list[int], spec: ModelSpec) -> tuple[str, str, str]:
    rows = build.add("Squeeze", raw, _ints(0))
    best, numbers = _best(build, build.columns(rows, 5, shape[2]))
    scores = build.add("Mul", best, build.columns(rows, 4, 5))
    return _corners(build, build.columns(rows, 0, 4)), scores, numbers


def _yolox(build: _Build, raw: str, shape: list[int], spec: ModelSpec) -> tuple[str, str, str]:
    size = spec.inputs[0].size_hw
    if size is None:
        raise SpecError("The head 'yolox' needs the input's size_hw in the spec.")
    corners, strides = grid(size, shape[1])
    rows = build.add("Squeeze", raw, _ints(0))
    best, numbers = _best(build, build.columns(rows, 5, shape[2]))
    scores = build.add("Mul", best, build.columns(rows, 4, 5))
    centres = build.add("Mul", build.add("Add", build.columns(rows, 0, 2), corners), strides)
    sizes = build.add("Mul", build.add("Exp", build.columns(rows, 2, 4)), strides)
    return _corners(build, build.add("Concat", centres, sizes, axis=1)), scores, numbers


_DECODERS = {"yolov8": _yolov8, "yolov5": _yolov5, "yolox": _yolox}


def _suppress(
    build: _Build, boxes: str, best: str, numbers: str, count: int, limits: dict[str, float]
) -> None:
    """From `(N, 4)` boxes, `(N, 1)` scores and classes to the rows that are kept."""
    most = int(limits["max_detections"])
    off_on = np.array([0, 1], np.float32)
    # Only the best class of each prediction keeps its score: (N, count).
    flags = build.add("OneHot", build.add("Squeeze", numbers, _ints(1)), _ints(count), off_on)
    by_class = build.add("Transpose", build.add("Mul", flags, best))
    kept = build.add(
        "NonMaxSuppression",
        build.add("Unsqueeze", boxes, _ints(0)),
        build.add("Unsqueeze", by_class, _ints(0)),
        _ints(most),
        np.array([limits["iou"]], np.float32),
        np.array([limits["score"]], np.float32),
    )
    index = build.add("Squeeze", build.columns(kept, 2, 3), _ints(1))
    label = build.add("Cast", build.columns(kept, 1, 2), to=1)
    found = build.add(
        "Concat",
        build.add("Gather", boxes, index, axis=0),
        build.add("Gather", best, index, axis=0),
        label,
        axis=1,
    )
    padded = build.add("Concat", found, np.zeros((most, _ROW), np.float32), axis=0)
    scores = build.add("Squeeze", build.columns(padded, 4, 5), _ints(1))
    order = build.add("TopK", scores, _ints(most), outputs=2)
    build.add("Unsqueeze", build.add("Gather", padded, f"{order}_1", axis=0), _ints(0))
    build.name_last(OUTPUT)
