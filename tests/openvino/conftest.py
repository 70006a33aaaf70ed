"""Small models for every head, and ONNX text to model files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
CLASSES = 3
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
        path.write_bytes(_network(head).SerializeToString())
        return path

    return make


def _network(head: str) -> onnx.ModelProto:
    task = "detect"
    if head in ("softmax", "logits"):
        task = "classify"
    elif head == "tensor":
        task = "tensor"
    build = _Graph()
    shape = build.detector(head) if task == "detect" else build.classifier(head)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        build.nodes,
        head,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [output],
        build.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entry = model.metadata_props.add()
    entry.key = "edgeinfer.spec"
    entry.value = json.dumps(
        {
            "schema": "edgeinfer.spec/1",
            "task": task,
            "head": head,
            "labels": [] if task == "tensor" else ["a", "b", "c"],
            "inputs": [
                {
                    "name": "images",
                    "kind": "image",
                    "size_hw": [SIZE, SIZE],
                    "resize": "letterbox",
                    "color": "rgb",
                    "scale": 1 / 255,
                }
            ],
            "thresholds": {"score": 0.25, "iou": 0.45} if task == "detect" else {},
        }
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
