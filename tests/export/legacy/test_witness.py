"""Independent readers: what they say of our conversions, and what happens without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeinfer_export import export
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel

CONV = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p"
        pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: "f" inner_product_param { num_output: 3 } }
layer { name: "s" type: "Softmax" bottom: "f" top: "s" }
"""
YOLO = """
[convolutional]
batch_normalize=1
filters=6
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=1

[convolutional]
filters=14
size=1
stride=1
activation=linear

[yolo]
mask=0,1
anchors=4,5, 9,7
classes=2
num=2
scale_x_y=1.1
"""


def floats(random: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    return random.normal(size=shape).astype(np.float32)


def caffe_weights(random: np.random.Generator) -> dict[str, list[np.ndarray[Any, Any]]]:
    conv = [floats(random, 6, 2, 3, 3), floats(random, 6)]
    return {"c": conv, "f": [floats(random, 3, 6 * 3 * 2), floats(random, 3)]}


def check(source: SourceModel, name: str, random: np.random.Generator) -> None:
    """The reference is that reader, and agrees on every output."""
    assert source.reference is not None, source.notes
    assert source.reference.name.startswith(name)
    (entry,) = source.model.graph.input
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    assert set(source.reference.outputs) == {value.name for value in source.model.graph.output}
    inputs = {entry.name: random.uniform(-1, 1, shape).astype(np.float32)}
    found = Session(source.path).run(inputs)
    for output, wanted in source.reference.run(inputs).items():
        apart = np.abs(found[output] - wanted).max() / np.ptp(wanted)
        assert apart <= 1e-4, output


def test_opencv_agrees_on_caffe(
    rooms: None, opener: Any, caffe: Any, random: np.random.Generator
) -> None:
    check(opener.source(caffe(CONV, (1, 4, 9, 7), caffe_weights(random))), "OpenCV 4", random)


def test_opencv_agrees_on_darknet(
    rooms: None, opener: Any, darknet: Any, random: np.random.Generator
) -> None:
    norm = [floats(random, 6), floats(random, 6), floats(random, 6), random.uniform(0.5, 2, 6)]
    weights = [*norm, floats(random, 6, 3, 3, 3), floats(random, 14), floats(random, 14, 6)]
    check(opener.source(darknet(YOLO, (3, 16, 16), weights)), "OpenCV 4", random)


def test_mxnet_agrees(rooms: None, opener: Any, mxnet: Any, random: np.random.Generator) -> None:
    params = {"w": floats(random, 6, 4, 3, 3), "b": floats(random, 6)}
    nodes = [
        ("Convolution", "c", {"kernel": (3, 3), "num_filter": 6}, ["data", "w", "b"]),
        ("Pooling", "p", {"kernel": (2, 2), "stride": (2, 2), "pool_type": "avg"}, ["c"]),
        ("SoftmaxActivation", "s", {"mode": "channel"}, ["p"]),
    ]
    source = opener.source(mxnet(nodes, params), input_shapes={"data": (1, 4, 9, 7)})
    check(source, "MXNet 1.9", random)


@pytest.mark.parametrize("separate", [False, True])
def test_paddle_agrees(
    rooms: None, opener: Any, paddle: Any, random: np.random.Generator, separate: bool
) -> None:
    operators = [
        ("conv2d", {"Input": ["x"], "Filter": ["w"]}, {"Output": ["c"]},
         {"strides": [1, 1], "paddings": [1, 1], "dilations": [1, 1], "groups": 1}),
        ("relu", {"X": ["c"]}, {"Out": ["y"]}, {}),
    ]  # fmt: skip
    folder = paddle(operators, (-1, 4, 9, 7), {"w": floats(random, 6, 4, 3, 3)}, separate)
    check(opener.source(folder), "Paddle 2.6", random)


def test_a_conversion_that_differs_is_found(
    rooms: None, opener: Any, caffe: Any, random: np.random.Generator
) -> None:
    path = caffe(CONV, (1, 4, 9, 7), caffe_weights(random))
    source = opener.source(path)
    assert source.reference is not None
    data = random.uniform(-1, 1, (1, 4, 9, 7)).astype(np.float32)
    before = source.reference.run({"data": data})["s"]
    caffe(CONV, (1, 4, 9, 7), caffe_weights(random))
    other = opener.run(path, {"data": data})["s"]
    assert np.abs(other - before).max() / np.ptp(before) > 1e-4


def test_without_a_reader_the_export_goes_on_and_says_so(
    caffe: Any, tmp_path: Path, random: np.random.Generator, vetted: None
) -> None:
    path = caffe(CONV, (1, 4, 9, 7), caffe_weights(random))
    exported = export(path, tmp_path / "out.onnx", task="tensor")
    said = [note for note in exported.notes if "no independent reader" in note]
    assert len(said) == 1
    assert "cannot be built: no network" in said[0]
    assert exported.output.exists()


def test_the_same_source_gives_the_same_bytes(
    caffe: Any, tmp_path: Path, random: np.random.Generator
) -> None:
    path = caffe(CONV, (1, 4, 9, 7), caffe_weights(random))
    one, two = (export(path, tmp_path / name, task="tensor") for name in ("1.onnx", "2.onnx"))
    assert one.sha256 == two.sha256
    assert one.output.read_bytes() == two.output.read_bytes()
