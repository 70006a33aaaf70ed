from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeinfer
from edgeinfer.errors import UsageError
from edgeinfer_bench.models import MODELS, mobilenet_v2_like, yolov8n_like

BOTH = pytest.mark.parametrize("make", [yolov8n_like, mobilenet_v2_like])


def parameters(model: Any) -> int:
    """Weights of layers; constants such as anchors are none."""
    names = {
        name
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
        for name in node.input[1:]
    }
    return sum(math.prod(w.dims) for w in model.graph.initializer if w.name in names)


def gflops(model: Any) -> float:
    """Twice the multiplications of convolutions and dense layers, in 1e9."""
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in [*inferred.graph.value_info, *inferred.graph.output]
    }
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += math.prod(weights[node.input[1]][1:]) * math.prod(shapes[node.output[0]])
        elif node.op_type == "Gemm":
            total += math.prod(weights[node.input[1]])
    return 2 * total / 1e9


@pytest.mark.parametrize(
    ("make", "millions", "giga"),
    # YOLOv8n: 3.2 M, 8.7 G (Ultralytics' table); MobileNetV2: 3.5 M, 0.3 G multiply-adds.
    [(yolov8n_like, 3.16, 8.7), (mobilenet_v2_like, 3.5, 0.6)],
)
def test_a_model_costs_what_its_example_costs(
    tmp_path: Path, make: Callable[[Path], Path], millions: float, giga: float
) -> None:
    model = onnx.load(str(make(tmp_path)))
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.02)
    assert gflops(model) == pytest.approx(giga, rel=0.03)
    assert (model.ir_version, model.opset_import[0].version) == (10, 17)


@BOTH
def test_a_model_is_built_once_and_is_always_the_same(
    tmp_path: Path, make: Callable[[Path, int], Path]
) -> None:
    first = make(tmp_path / "a", 64)
    written = first.stat().st_mtime_ns
    assert make(tmp_path / "a", 64) == first
    assert first.stat().st_mtime_ns == written
    assert make(tmp_path / "b", 64).read_bytes() == first.read_bytes()
    assert make(tmp_path / "a", 96) != first


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("size", [0, 100, 4096])
def test_a_size_that_does_not_fit_is_refused(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=str(size)):
        MODELS[name](size)


def test_the_detector_finds_a_handful_of_things_within_the_picture(tmp_path: Path) -> None:
    with edgeinfer.load(yolov8n_like(tmp_path), "cpu", threads=1) as model:
        source = edgeinfer.open_source("synthetic:1280x720")
        found = model(next(source)).value
        source.close()
    assert model.spec.head == "yolov8"
    assert isinstance(found, edgeinfer.Detections)
    assert 0 < len(found) < 50
    assert np.isfinite(found.boxes_xyxy).all()


def test_the_classifier_tells_pictures_apart(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with edgeinfer.load(mobilenet_v2_like(tmp_path, 64), "cpu", threads=1) as model:
        one, other = model(picture).value, model(255 - picture).value
    assert isinstance(one, edgeinfer.Classes) and isinstance(other, edgeinfer.Classes)
    assert 0.001 < one.scores[0] < 0.999
    assert not np.array_equal(one.scores, other.scores)


@BOTH
def test_the_spec_in_the_file_names_what_it_is(
    tmp_path: Path, make: Callable[[Path, int], Path]
) -> None:
    model = onnx.load(str(make(tmp_path, 64)))
    spec = json.loads({item.key: item.value for item in model.metadata_props}["edgeinfer.spec"])
    assert spec["inputs"][0]["name"] == model.graph.input[0].name
    assert spec["inputs"][0]["size_hw"] == [64, 64]
