"""Trained checkpoints of legacy frameworks, as people have them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeinfer
from edgeinfer_export import export
from edgeinfer_export.quantize.session import Session

pytestmark = pytest.mark.realdata

MASKS = ("caffe/face_mask_detection.prototxt", "mxnet/face_mask_detection.json")
MASKS += ("paddle/face_mask_detection",)
# These are converted, or held against their framework, in environments of their own.
ROOM_MASKS = ("tflite/face_mask_detection.tflite", "tf/face_mask_detection.pb")


def range_apart(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    return float(np.abs(found - wanted).max() / np.ptp(wanted))


def masks(
    realdata: Path, opener: Any, name: str, picture: np.ndarray[Any, Any]
) -> dict[int, np.ndarray[Any, Any]]:
    """Boxes by their four columns, classes by their two, whatever they are called."""
    fed = picture.transpose(0, 2, 3, 1) if name.startswith("tf") else picture
    found = opener.run(realdata / "checkpoints" / name, np.ascontiguousarray(fed))
    return {value.shape[-1]: value for value in found.values()}


def assert_agree(
    realdata: Path, opener: Any, names: tuple[str, ...], random: np.random.Generator
) -> None:
    """All of them give what the first one gives."""
    picture = random.uniform(0, 1, (1, 3, 260, 260)).astype(np.float32)
    answers = [masks(realdata, opener, name, picture) for name in names]
    for name, answer in zip(names[1:], answers[1:], strict=True):
        for columns, wanted in answers[0].items():
            assert wanted.shape == (1, 5972, columns)
            assert range_apart(answer[columns], wanted) <= 1e-4, (name, columns)


def test_one_network_agrees_with_itself_across_frameworks(
    realdata: Path, opener: Any, random: np.random.Generator
) -> None:
    assert_agree(realdata, opener, MASKS, random)


@pytest.mark.parametrize("name", ROOM_MASKS)
def test_it_agrees_with_what_tensorflow_has_of_it(
    realdata: Path, rooms: None, opener: Any, random: np.random.Generator, name: str
) -> None:
    assert_agree(realdata, opener, (MASKS[0], name), random)


def test_ultraface_is_what_its_published_twin_is(
    realdata: Path, opener: Any, random: np.random.Generator
) -> None:
    picture = random.uniform(-1, 1, (1, 3, 240, 320)).astype(np.float32)
    found = opener.run(realdata / "checkpoints/caffe/ultraface_RFB-320.caffemodel", picture)
    twin = Session(realdata / "models/ultraface_rfb_320.onnx").run({"input": picture})
    assert range_apart(found["scores"], twin["scores"]) <= 1e-4
    # The twin's boxes are decoded, with the anchors of its paper's code.
    sizes = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
    anchors = []
    for stride, edges in sizes.items():
        rows, columns = math.ceil(240 / stride), math.ceil(320 / stride)
        for y in range(rows):
            for x in range(columns):
                middle = ((x + 0.5) / columns, (y + 0.5) / rows)
                anchors += [(*middle, edge / 320, edge / 240) for edge in edges]
    prior = np.clip(np.array(anchors), 0, 1)
    centre = prior[:, :2] + found["boxes"][0, :, :2] * 0.1 * prior[:, 2:]
    half = prior[:, 2:] * np.exp(found["boxes"][0, :, 2:] * 0.2) / 2
    boxes = np.concatenate((centre - half, centre + half), axis=1)
    assert range_apart(boxes, twin["boxes"][0]) <= 1e-4


def test_ultraface_of_caffe_counts_faces_as_others_do(
    realdata: Path, tmp_path: Path, vetted: None
) -> None:
    source = realdata / "checkpoints/caffe/ultraface_RFB-320.caffemodel"
    exported = export(source, tmp_path / "out.onnx")
    truth = json.loads((realdata / "labels/faces.json").read_text())
    with edgeinfer.load(exported.output, provider="cpu") as model:
        for name, count in truth.items():
            (file,) = (realdata / "images").rglob(name)
            picture = cv2.imread(str(file))
            assert picture is not None
            assert len(model(picture).to_dict()["instances"]) == count, name


def test_a_darknet_detector_sees_what_is_there(
    realdata: Path, tmp_path: Path, vetted: None
) -> None:
    folder = realdata / "checkpoints/darknet"
    exported = export(
        folder / "yolo-fastest-1.1.cfg", tmp_path / "out.onnx", labels=folder / "coco.names"
    )
    wanted = {"darknet/dog.jpg": {"dog", "car", "bicycle"}, "yolov5/bus.jpg": {"person", "bus"}}
    with edgeinfer.load(exported.output, provider="cpu") as model:
        for name, labels in wanted.items():
            picture = cv2.imread(str(realdata / "images" / name))
            assert picture is not None
            seen = model(picture).to_dict()["detections"]
            assert labels <= {item["label"] for item in seen}, name
            if "bus" in labels:
                best = max(
                    (item for item in seen if item["label"] == "bus"), key=lambda i: i["score"]
                )
                apart = np.abs(np.array(best["box_xyxy"]) - (20, 229, 800, 740))
                assert apart.max() < 100


CHECKPOINTS = {
    "caffe/face_mask_detection.caffemodel": "OpenCV 4",
    "caffe/ultraface_RFB-320.prototxt": "OpenCV 4",
    "darknet/yolo-fastest-1.1.weights": "OpenCV 4",
    "paddle/face_mask_detection": "Paddle 2.6",
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_are_held_against_independent_readers(
    realdata: Path, rooms: None, tmp_path: Path, vetted: None, name: str
) -> None:
    task = None if name.startswith("darknet") else "tensor"
    exported = export(realdata / "checkpoints" / name, tmp_path / "out.onnx", task=task)
    assert exported.parity["reference"].startswith(CHECKPOINTS[name])
    assert exported.parity["outputs"]
    for output, figures in exported.parity["outputs"].items():
        assert figures["max"] <= 1e-4, output
