"""What the metadata of OpenVINO Model API say of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

from edgeinfer.errors import SpecError
from edgeinfer.resolve import Opened, Overrides, resolve
from edgeinfer.spec import ModelSpec, TensorSpec

IMAGENET = {"mean_values": "123.675 116.28 103.53", "scale_values": "58.395 57.12 57.375"}


def opened(
    shape: tuple[int | str, ...],
    kind: str,
    picture: tuple[int | str, ...] = (1, 3, 64, 64),
    path: Path = Path("model.onnx"),
    **info: str,
) -> Opened:
    metadata = {f"model_info {key}": text for key, text in {"model_type": kind, **info}.items()}
    return Opened(
        path,
        (TensorSpec("images", "float32", picture),),
        (TensorSpec("out", "float32", shape),),
        metadata,
    )


def resolved(*given: Any, **info: Any) -> ModelSpec:
    return resolve(opened(*given, **info), Overrides())


def test_a_detector_is_as_its_wrapper_takes_it() -> None:
    spec = resolved((1, 6, 84), "YOLOv8", labels="traffic_light dog", confidence_threshold="0.4")
    assert (spec.origin, spec.head, spec.notes) == ("model_api", "yolov8", ())
    assert spec.labels == ("traffic_light", "dog")
    assert (spec.thresholds["score"], spec.thresholds["iou"]) == (0.4, 0.7)
    given = spec.inputs[0]
    assert (given.resize, given.pad_value, given.color) == ("letterbox", 114, "rgb")
    assert given.per_channel() == ((1 / 255, -0.0),) * 3


def test_a_classifier_has_its_means_and_the_last_node_tells_its_head(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3] x) => (float[1, 3] out)'
        "{ out = Softmax(x) }"
    )
    onnx.save(onnx.parser.parse_model(text), path)
    spec = resolved(
        (1, 3), "Classification", path=path, labels="a b", resize_type="crop", **IMAGENET
    )
    assert (spec.head, spec.labels) == ("softmax", ("other", "a", "b"))
    given = spec.inputs[0]
    assert (given.resize, given.scale, given.color) == ("center-crop", 1.0, "rgb")
    assert (given.mean, given.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def test_a_segmenter_may_leave_out_the_background() -> None:
    spec = resolved((1, 3, 64, 64), "Segmentation", labels="road car")
    assert (spec.head, spec.labels) == ("semantic", ("background", "road", "car"))
    assert (spec.inputs[0].resize, spec.inputs[0].pad_value) == ("stretch", 0)


def test_an_anomaly_has_its_threshold() -> None:
    spec = resolved((1, 1, 64, 64), "AnomalyDetection", labels="Normal Anomaly", **IMAGENET)
    assert (spec.task, spec.head, spec.thresholds) == ("anomaly", "anomaly-map", {})
    spec = resolved((1, 1, 64, 64), "AnomalyDetection", image_threshold="12.5")
    assert spec.thresholds == {"anomaly": 12.5}


@pytest.mark.parametrize(
    ("info", "color", "said"),
    [
        (IMAGENET, "rgb", False),
        ({"mean_values": "103.53, 116.28, 123.675"}, "bgr", False),
        ({"reverse_input_channels": "False"}, "rgb", True),
        ({"reverse_input_channels": "YES"}, "bgr", True),
    ],
)
def test_colours_that_the_metadata_leave_open_are_said(
    info: dict[str, str], color: str, said: bool
) -> None:
    spec = resolved((1, 3, 64, 64), "Segmentation", **info)
    assert spec.inputs[0].color == color
    assert any("reverse_input_channels" in note for note in spec.notes) is said


def test_the_yolo_of_the_wrappers_differ_in_colour_and_place() -> None:
    given = resolved((1, 84, 7), "YOLOX").inputs[0]
    assert (given.resize, given.color, given.scale, given.pad_value) == ("pad-br", "bgr", 1.0, 114)
    assert resolved((1, 6, 84), "YOLO11", picture=(1, 1, 64, 64)).inputs[0].color == "gray"


@pytest.mark.parametrize(
    ("kind", "info", "said"),
    [
        ("MaskRCNN", {}, "MaskRCNN"),
        ("Classification", {"multilabel": "True"}, "Classification multilabel"),
    ],
)
def test_types_that_are_unknown_here_run_as_tensors_and_say_so(
    kind: str, info: dict[str, str], said: str
) -> None:
    spec = resolved((1, 3), kind, **info)
    assert (spec.head, spec.origin) == ("tensor", "model_api")
    assert any(said in note for note in spec.notes)


@pytest.mark.parametrize(
    "odd",
    [
        {"mean_values": "a b c", "scale_values": "0"},
        {"mean_values": "nan", "scale_values": "1 2"},
        {"pad_value": "x", "resize_type": "odd", "confidence_threshold": "7"},
    ],
)
def test_odd_words_are_passed_over(odd: dict[str, str]) -> None:
    spec = resolved((1, 6, 84), "yolov8", **odd)
    assert spec.head == "yolov8"
    assert spec.inputs[0].mean == (0.0,)


def test_labels_that_contradict_the_shape_are_an_error() -> None:
    with pytest.raises(SpecError, match="2 classes apart.*3 names"):
        resolved((1, 6, 84), "yolov8", labels="a b c")
