"""Models and pictures that others made: bytes in the graph against floats from the host."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from edgeinfer.preprocess import embed, preprocess
from edgeinfer.spec import InputSpec

HALF = {"scale": 1 / 255, "mean": (0.5,), "std": (0.5,)}
BGR_MEAN = {"color": "bgr", "scale": 1.0, "mean": (104.0, 117.0, 123.0)}
MODELS = {
    "yolov8n_int8_b": ("nodes", 1e-5, {}),
    "yolox_nano_416": ("folded", 1e-5, {"resize": "pad-br", "color": "bgr", "scale": 1.0}),
    "squeezenet_fp16": ("nodes", 1e-3, {"resize": "center-crop", "dtype": "float16", **BGR_MEAN}),
    "winml_cifar10": ("nodes", 1e-5, {"resize": "stretch", **HALF}),
    "mnist_cntk": ("folded", 1e-5, {"resize": "stretch", "color": "gray", "scale": 1.0}),
    "fastestdet_352": ("folded", 1e-5, {"resize": "stretch", "color": "bgr"}),
}


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.realdata
@pytest.mark.parametrize("name", MODELS)
def test_bytes_in_the_graph_give_what_the_host_gives(name, realdata):
    how, limit, fields = MODELS[name]
    model = onnx.load(realdata / "models" / f"{name}.onnx")
    stored = {item.name for item in model.graph.initializer}
    (given,) = [item for item in model.graph.input if item.name not in stored]
    shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
    spec = InputSpec(given.name, size_hw=(shape[2], shape[3]), **fields)
    embedded = embed(model, spec)
    assert embedded.how == how
    host, graph = session_of(model), session_of(embedded.model)
    pictures = sorted((realdata / "images" / "yolov5").glob("*.jpg"))
    assert pictures
    for path in pictures:
        frame = cv2.imread(str(path))
        expected = host.run(None, {given.name: preprocess(frame, spec)[0]})
        seen = graph.run(None, {given.name: preprocess(frame, embedded.spec)[0]})
        for a, b in zip(expected, seen, strict=True):
            a, b = a.astype(np.float64), b.astype(np.float64)
            assert np.abs(a - b).max() <= limit * np.ptp(a)
