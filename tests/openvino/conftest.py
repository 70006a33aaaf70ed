"""Small models for every head, and ONNX text to model files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
CLASSES = 3
# Heads by the shapes of their outputs: name, shape, and what the numbers are.
SCALED = ("pixels", "corners")
SMALL = json.loads(Path(__file__).with_name("small_heads.json").read_text())
Build = Callable[[str], Path]


@pytest.fixture
def make_model(tmp_path: Path) -> Build:
    """Write a model given as ONNX text."""

    def make(text: str) -> Path:
        header = '<ir_version: 8, opset_import: ["" : 17]>\n'
        path = tmp_path / "model.onnx"
        path.write_bytes(onnx.parser.parse_model(header + text).SerializeToString())
        return path

    return make


@pytest.fixture
def head_model(tmp_path: Path) -> Build:
    """Write a small network whose output a head decodes, with random weights of a fixed seed."""

    def make(head: str) -> Path:
        path = tmp_path / f"{head}.onnx"
        made = _small(head, SMALL[head]) if head in SMALL else _network(head)
        path.write_bytes(made.SerializeToString())
        return path

    return make


def _small(head: str, told: dict[str, Any]) -> onnx.ModelProto:
    """Every number of every output is a sum of the picture's, of its own weights."""
    build = _Graph()
    found = build.conv("images", "c", (3, 8), 16)
    features = build.add("Flatten", [build.add("Tanh", [found], "t")], "features")
    outputs = []
    for name, shape, kind in told["outputs"]:
        build.output(features, name, shape, kind)
        dtype = TensorProto.INT64 if kind == "number" else TensorProto.FLOAT
        outputs.append(helper.make_tensor_value_info(name, dtype, shape))
    spec = {"task": told["task"], "labels": told.get("labels", [])}
    if "options" in told:
        spec["head_options"] = told["options"]
    return _model(build, head, outputs, spec)


def _network(head: str) -> onnx.ModelProto:
    task = "detect"
    if head in ("softmax", "logits"):
        task = "classify"
    elif head == "tensor":
        task = "tensor"
    build = _Graph()
    shape = build.detector(head) if task == "detect" else build.classifier(head)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
    spec = {
        "task": task,
        "labels": [] if task == "tensor" else ["a", "b", "c"],
        "thresholds": {"score": 0.25, "iou": 0.45} if task == "detect" else {},
    }
    return _model(build, head, [output], spec)


def _model(
    build: _Graph, head: str, outputs: list[onnx.ValueInfoProto], spec: dict[str, Any]
) -> onnx.ModelProto:
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    graph = helper.make_graph(build.nodes, head, [taken], outputs, build.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    picture = {
        "name": "images",
        "kind": "image",
        "size_hw": [SIZE, SIZE],
        "resize": "letterbox",
        "color": "rgb",
        "scale": 1 / 255,
    }
    entry = model.metadata_props.add()
    entry.key = "edgeinfer.spec"
    entry.value = json.dumps(
        {"schema": "edgeinfer.spec/1", "head": head, "inputs": [picture], **spec}
    )
    return model


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(7)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def conv(self, source: str, name: str, channels: tuple[int, int], stride: int) -> str:
        fan_in = channels[0] * stride * stride
        kernel = self._random.standard_normal((channels[1], channels[0], stride, stride))
        weight = self.constant(f"{name}.w", (kernel * 3 / fan_in**0.5).astype(np.float32))
        return self.add("Conv", [source, weight], name, strides=[stride, stride])

    def output(self, features: str, name: str, shape: list[int], kind: str) -> None:
        """An output of that shape.

        Args:
            kind: ``raw``; ``share`` in 0 to 1; ``small`` in -1 to 1; ``pixels``: four rows of
                pixels, then shares; ``corners``: x1, y1, x2, y2 in 0 to 1; ``number`` of a class.
        """
        count = math.prod(shape) if kind != "number" else CLASSES
        kernel = self._random.standard_normal((8 * (SIZE // 16) ** 2, count)).astype(np.float32)
        flat = self.add("MatMul", [features, self.constant(f"{name}.w", kernel / 4)], f"{name}.f")
        if kind == "number":
            self.add("ArgMax", [flat], name, axis=1, keepdims=0)
            return
        if kind in ("share", "pixels", "corners"):
            flat = self.add("Sigmoid", [flat], f"{name}.s")
        elif kind == "small":
            flat = self.add("Tanh", [flat], f"{name}.s")
        wanted = self.constant(f"{name}.shape", np.array(shape, np.int64))
        shaped = self.add("Reshape", [flat, wanted], f"{name}.r" if kind in SCALED else name)
        if kind == "pixels":
            rows = np.where(np.arange(shape[1]) < 4, SIZE, 1).astype(np.float32)
            self.add("Mul", [shaped, self.constant(f"{name}.px", rows[None, :, None])], name)
        elif kind == "corners":
            halves = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
            half = self.add("Mul", [shaped, self.constant(f"{name}.half", halves)], f"{name}.h")
            offset = np.array([0, 0, 0.5, 0.5], np.float32)
            self.add("Add", [half, self.constant(f"{name}.off", offset)], name)

    def detector(self, head: str) -> list[int]:
        rows = {"yolov8": 4 + CLASSES, "end2end": 6}.get(head, 5 + CLASSES)
        strides = (8, 16, 32)
        parts = []
        for stride in strides:
            found = self.conv("images", f"p{stride}", (3, rows), stride)
            flat = self.constant(f"flat{stride}", np.array([1, rows, -1], np.int64))
            parts.append(self.add("Reshape", [found, flat], f"f{stride}"))
        joined = self.add("Concat", parts, "joined", axis=2)
        count = sum((SIZE // stride) ** 2 for stride in strides)
        if head == "yolox":
            # Raw offsets and logarithms of sizes, then scores.
            cut = self.constant("cut", np.array([4, rows - 4], np.int64))
            self.nodes.append(helper.make_node("Split", [joined, cut], ["raw", "odds"], axis=1))
            scores = self.add("Sigmoid", ["odds"], "scores")
            joined = self.add("Concat", ["raw", scores], "both", axis=1)
        else:
            # Centres and sizes (or corners) in pixels, then scores.
            cut = self.constant("cut", np.array([4, rows - 4], np.int64))
            shares = self.add("Sigmoid", [joined], "shares")
            self.nodes.append(helper.make_node("Split", [shares, cut], ["where", "scores"], axis=1))
            pixels = self.add("Mul", ["where", self.constant("size", np.float32(SIZE))], "pixels")
            joined = self.add("Concat", [pixels, "scores"], "both", axis=1)
        if head == "yolov8":
            self.add("Identity", [joined], "output")
            return [1, rows, count]
        self.add("Transpose", [joined], "output", perm=[0, 2, 1])
        return [1, count, rows]

    def classifier(self, head: str) -> list[int]:
        found = self.conv("images", "c", (3, 16), 8)
        active = self.add("Relu", [found], "r")
        pooled = self.add("GlobalAveragePool", [active], "pooled")
        flat = self.add("Flatten", [pooled], "flat")
        weight = self.constant("w", self._random.standard_normal((16, CLASSES)).astype(np.float32))
        last = "scored" if head == "softmax" else "output"
        self.add("Gemm", [flat, weight], last)
        if head == "softmax":
            self.add("Softmax", [last], "output", axis=1)
        return [1, CLASSES]
