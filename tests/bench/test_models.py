from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeinfer
from edgeinfer.errors import UsageError
from edgeinfer_bench.models import MODELS, mobilenet_v2_like, model_file, yolov8n_like

pytestmark = pytest.mark.slow

# Small enough for a test, large enough for every stride.
SMALL = {name: 128 if name == "lstm-like" else 64 for name in MODELS}


def parameters(model: Any) -> int:
    """Learned numbers; constants such as anchors are none."""
    weights = {w.name: w for w in model.graph.initializer}
    names = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul", "LSTM", "LayerNormalization"):
            names.update(node.input[1:])
        elif node.op_type in ("Add", "Concat"):  # biases, tokens, positions: no single numbers
            names.update(name for name in node.input if name in weights and weights[name].dims)
    floats = [w for n, w in weights.items() if n in names and w.data_type == onnx.TensorProto.FLOAT]
    return sum(math.prod(w.dims) for w in floats)


def multiply_adds(model: Any) -> float:
    """Of convolutions, matrix products and recurrent layers."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes = {v.name: [size.dim_value for size in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {w.name: list(w.dims) for w in model.graph.initializer}
    return sum(_node_cost(node, shapes) for node in model.graph.node)


def _node_cost(node: Any, shapes: Mapping[str, list[int]]) -> int:
    if node.op_type == "Conv":
        return math.prod(shapes[node.input[1]][1:]) * math.prod(shapes[node.output[0]])
    if node.op_type == "Gemm":
        return math.prod(shapes[node.input[1]])
    if node.op_type == "MatMul":
        return shapes[node.input[0]][-1] * math.prod(shapes[node.output[0]])
    if node.op_type == "LSTM":
        steps = shapes[node.input[0]][0]
        return steps * (math.prod(shapes[node.input[1]]) + math.prod(shapes[node.input[2]]))
    return 0


@pytest.mark.parametrize(
    ("name", "millions", "mega"),
    [
        ("yolov8n-like", 3.16, 8700 / 2),  # Ultralytics' table: 3.2 M, 8.7 GFLOPs
        (
            "yolox-nano-like",
            0.91,
            1045 / 2,
        ),  # Ge et al. 2021: 1.08 G with batch norms
        ("resnet50-like", 25.53, 4090),  # torchvision: 25.56 M with batch normalization apart
        ("mobilenet-v2-like", 3.5, 300),  # Sandler et al. 2018, table 4
        ("mobilenet-v3-small-like", 2.54, 56),  # Howard et al. 2019, table 3
        ("lstm-like", 0.204, 128 * 4 * 128 * (9 + 128 + 128 + 128) / 1e6),
        ("deit-tiny-like", 5.717, 1260),  # Touvron et al. 2021: 5.7 M, 1.3 G
    ],
)
def test_a_model_costs_what_its_example_costs(
    tmp_path: Path, name: str, millions: float, mega: float
) -> None:
    model = onnx.load(str(model_file(name, tmp_path)))
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.02)
    assert multiply_adds(model) / 1e6 == pytest.approx(mega, rel=0.03)
    assert (model.ir_version, model.opset_import[0].version) == (10, 17)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_once_and_is_always_the_same(tmp_path: Path, name: str) -> None:
    size = SMALL[name]
    first = model_file(name, tmp_path / "a", size)
    written = first.stat().st_mtime_ns
    assert model_file(name, tmp_path / "a", size) == first
    assert first.stat().st_mtime_ns == written
    assert model_file(name, tmp_path / "b", size).read_bytes() == first.read_bytes()
    assert model_file(name, tmp_path / "a", size + 32) != first


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [0, -64, 4096])
def test_a_size_that_does_not_fit_is_refused(tmp_path: Path, name: str, size: int) -> None:
    with pytest.raises(UsageError, match=str(size)):
        model_file(name, tmp_path, size)


def test_an_unknown_model_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="resnet50-like"):
        model_file("resnet5-like", tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_activations_neither_explode_nor_die(tmp_path: Path, name: str) -> None:
    """What every layer gives stays within what 8 bits and float16 hold."""
    path = model_file(name, tmp_path)
    model = onnx.load(str(path))
    layers = [
        node.output[0]
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul", "LSTM")
    ]
    model.graph.ClearField("output")
    model.graph.output.extend(onnx.ValueInfoProto(name=layer) for layer in layers)
    del model.metadata_props[:]
    probe = tmp_path / "probe.onnx"
    probe.write_bytes(model.SerializeToString())
    with edgeinfer.load(path, "cpu", threads=1) as opened:
        spec = opened.spec.inputs[0]
    feed = {spec.name: _input(spec)}
    with edgeinfer.load(probe, "cpu", threads=1, task="tensor") as opened:
        taken = {name: float(np.std(array)) for name, array in opened.raw(feed).items()}
    assert len(taken) == len(layers)
    assert {name: std for name, std in taken.items() if not 0.002 < std < 250} == {}


def _input(spec: edgeinfer.InputSpec) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A structured picture as the model's input, or normal readings."""
    from edgeinfer.preprocess import preprocess

    if spec.kind == "tensor":
        return np.random.default_rng(0).standard_normal((1, 128, 9)).astype(np.float32)
    source = edgeinfer.open_source("synthetic:640x480")
    picture = np.array(next(source).data)
    source.close()
    return preprocess(picture, spec)[0]


@pytest.mark.parametrize(
    ("name", "size"), [("yolov8n-like", 640), ("yolov8n-like", 320), ("yolox-nano-like", 416)]
)
def test_a_detector_finds_a_handful_of_things_within_the_picture(
    tmp_path: Path, name: str, size: int
) -> None:
    with edgeinfer.load(model_file(name, tmp_path, size), "cpu", threads=1) as model:
        source = edgeinfer.open_source("synthetic:1280x720")
        found = model(next(source)).value
        source.close()
    assert isinstance(found, edgeinfer.Detections)
    assert 0 < len(found) < 50
    assert np.isfinite(found.boxes_xyxy).all()


@pytest.mark.parametrize(
    "name", ["mobilenet-v2-like", "mobilenet-v3-small-like", "resnet50-like", "deit-tiny-like"]
)
def test_a_classifier_tells_pictures_apart(tmp_path: Path, name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with edgeinfer.load(model_file(name, tmp_path, 64), "cpu", threads=1) as model:
        one, other = model(picture).value, model(255 - picture).value
    assert isinstance(one, edgeinfer.Classes) and isinstance(other, edgeinfer.Classes)
    assert one.scores[0] > 0.001
    assert not np.array_equal(one.scores, other.scores)


def test_the_sequence_model_tells_readings_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    with edgeinfer.load(model_file("lstm-like", tmp_path), "cpu", threads=1) as model:
        best = set()
        for _ in range(20):
            readings = random.standard_normal((1, 128, 9)).astype(np.float32)
            value = model({"readings": readings}).value
            assert isinstance(value, edgeinfer.Classes)
            best.add(int(value.class_ids[0]))
    assert len(best) > 1


@pytest.mark.parametrize("name", MODELS)
def test_the_spec_in_the_file_names_what_it_is(tmp_path: Path, name: str) -> None:
    size = SMALL[name]
    model = onnx.load(str(model_file(name, tmp_path, size)))
    spec = json.loads({item.key: item.value for item in model.metadata_props}["edgeinfer.spec"])
    assert spec["inputs"][0]["name"] == model.graph.input[0].name
    if spec["inputs"][0]["kind"] == "image":
        assert spec["inputs"][0]["size_hw"] == [size, size]


def test_the_two_with_names_of_their_own_are_those_of_the_table(tmp_path: Path) -> None:
    assert yolov8n_like(tmp_path, 64) == model_file("yolov8n-like", tmp_path, 64)
    assert mobilenet_v2_like(tmp_path, 64) == model_file("mobilenet-v2-like", tmp_path, 64)
