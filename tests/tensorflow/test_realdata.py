"""Every real checkpoint of Keras, TensorFlow and TFLite, against its framework and its accuracy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.frames import Array
from edgeinfer_export import Exported, export
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel

Open = Callable[..., SourceModel]

pytestmark = pytest.mark.realdata

# Raw pixels: what these networks were trained on.
RAW = """{"task": "classify", "head": "softmax", "inputs": [{"name": "input_1", "kind": "image",
"size_hw": [32, 32], "resize": "stretch", "color": "rgb", "layout": "nhwc", "scale": 1.0}]}"""


@pytest.fixture
def cifar10(realdata: Path, tmp_path: Path) -> Callable[..., Exported]:
    """Export a CIFAR-10 classifier and measure it."""
    folder = realdata / "images" / "cifar10_test"
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(sorted(path.name for path in folder.iterdir())))
    (tmp_path / "raw.json").write_text(RAW)

    def measure(source: str, raw: bool = True) -> Exported:
        return export(
            realdata / "checkpoints" / source,
            tmp_path / "out.onnx",
            labels=labels,
            validation=folder,
            spec=tmp_path / "raw.json" if raw else None,
        )

    return measure


@pytest.mark.parametrize(
    "source", ["keras/mlc_resnet8_cifar10.h5", "tflite/mlc_resnet8_cifar10.tflite"]
)
def test_resnet8_keeps_its_accuracy(
    room: object, cifar10: Callable[..., Exported], source: str
) -> None:
    done = cifar10(source)
    assert done.metric["after"]["top1"] == pytest.approx(0.751)
    assert max(figures["max"] for figures in done.parity["outputs"].values()) < 1e-5
    assert done.precision == "fp32"


def test_a_quantized_resnet8_keeps_its_accuracy_and_knows_its_pixels(
    room: object, cifar10: Callable[..., Exported]
) -> None:
    # No spec is given: scale and zero point of the input say that it takes pixels as they are.
    done = cifar10("tflite/mlc_resnet8_cifar10_int8.tflite", raw=False)
    assert done.precision == done.spec.precision == "int8"
    # LiteRT's own kernels reach 74.7% to 75.2%, by how they round.
    assert done.metric["after"]["top1"] >= 0.747
    assert done.parity["reference"].startswith("LiteRT")


def test_mobilenet_sees_the_pictures(room: object, realdata: Path, opened: Open) -> None:
    source = opened(realdata / "checkpoints" / "tflite" / "mobilenet_v1_0.25_224.tflite")
    session = Session(source.path)
    numbers = imagenet_numbers(realdata / "labels" / "imagenet_1000.txt")
    pictures = sorted((realdata / "images" / "imagenet").iterdir())
    answers = [session.run({"input": mobilenet_input(path)}) for path in pictures]
    assert source.reference is not None
    wanted = source.reference.run({"input": mobilenet_input(pictures[0])})
    for name, value in wanted.items():
        assert np.abs(value - answers[0][name]).max() / np.ptp(value) < 1e-4
    # Its first class is the background.
    best = [int(next(iter(answer.values())).argmax()) - 1 for answer in answers]
    truth = [numbers[path.stem.split("_", 1)[1].lower()] for path in pictures]
    # 58.0% of 500 pictures; these are 143 of them.
    assert np.mean(np.array(best) == truth) > 0.54


def imagenet_numbers(path: Path) -> dict[str, int]:
    """Each name of each class, as the pictures' file names spell it."""
    numbers: dict[str, int] = {}
    for line in path.read_text().splitlines():
        number, _, names = line.partition(",")
        for name in names.split(","):
            spelled = name.strip().lower().replace(" ", "_")
            numbers.setdefault(spelled, int(number))
            numbers.setdefault(spelled.replace("-", "_"), int(number))
    return numbers


def mobilenet_input(path: Path) -> Array:
    """(1, 224, 224, 3) float32 RGB in [-1, 1], the middle of the picture."""
    picture = cv2.imread(str(path))
    factor = 256 / min(picture.shape[:2])
    size = round(picture.shape[1] * factor), round(picture.shape[0] * factor)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    top, left = (picture.shape[0] - 224) // 2, (picture.shape[1] - 224) // 2
    picture = picture[top : top + 224, left : left + 224]
    made: Array = (picture[None, :, :, ::-1].astype(np.float32) - 127.5) / 127.5
    return made


@pytest.mark.parametrize("name", ["tf/kws_saved_model", "tflite/mlc_kws_float32.tflite"])
def test_keyword_spotting_hears_what_its_framework_hears(
    room: object, realdata: Path, tmp_path: Path, name: str
) -> None:
    # The two files hold different trainings (their weights do not correlate), so that each is
    # held against its own framework; the TFLite file has 8-bit weights in float32 layers.
    done = export(realdata / "checkpoints" / name, tmp_path / "out.onnx", task="tensor")
    (figures,) = done.parity["outputs"].values()
    if name.startswith("tf/"):
        assert figures["max"] < 1e-5
    else:
        assert figures["mean"] < 0.01
        assert any("dynamic range" in note for note in done.notes)


def test_face_mask_detection_is_the_same_in_both_formats(
    room: object, realdata: Path, opened: Open
) -> None:
    picture = cv2.imread(str(realdata / "images" / "yolov5" / "zidane.jpg"))
    pixels = cv2.resize(picture, (260, 260))[None, :, :, ::-1].astype(np.float32) / 255
    made = []
    for name in ("tf/face_mask_detection.pb", "tflite/face_mask_detection.tflite"):
        source = opened(realdata / "checkpoints" / name)
        assert source.reference is not None
        got = Session(source.path).run({"data_1": pixels})
        wanted = source.reference.run({"data_1": pixels})
        assert {key: value.shape for key, value in got.items()} == {
            "loc_branch_concat_1/concat": (1, 5972, 4),
            "cls_branch_concat_1/concat": (1, 5972, 2),
        }
        for key, value in wanted.items():
            assert np.abs(value - got[key]).max() / np.ptp(value) < 1e-4
        made.append(got)
    for key, value in made[0].items():
        assert np.abs(value - made[1][key]).max() / np.ptp(value) < 1e-4
    assert made[0]["cls_branch_concat_1/concat"].max() > 0.5  # it sees the faces


@pytest.mark.parametrize("name", ["mlc_ad01.h5", "gender_mini_XCEPTION.hdf5"])
def test_keras_2_files_compute_the_same(
    room: object, realdata: Path, tmp_path: Path, name: str
) -> None:
    done = export(realdata / "checkpoints" / "keras" / name, tmp_path / "out.onnx")
    assert re.match(r"Keras 2\.", done.parity["reference"])
    assert max(figures["max"] for figures in done.parity["outputs"].values()) < 1e-4
