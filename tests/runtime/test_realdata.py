"""What a correct runtime sees on real models and pictures (see the README beside them)."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main as cli
from edgeinfer.errors import ModelFileError
from edgeinfer.model import LoadOptions, open_model

pytestmark = pytest.mark.realdata


def counts(model: edgeinfer.Model, picture: Path) -> Counter[str]:
    found = model(cv2.imread(str(picture))).to_dict()["detections"]
    return Counter(item["label"] for item in found)


def picture_of(realdata: Path, name: str) -> Path:
    (path,) = (realdata / "images").rglob(name)
    return path


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("bus.jpg", {"person": 4, "bus": 1}),
        ("zidane.jpg", {"person": 2, "tie": 1}),
        ("dog.jpg", {"dog": 1, "bicycle": 1, "car": 1, "truck": 1}),
    ],
)
def test_yolov8_with_ultralytics_metadata(
    realdata: Path, picture: str, expected: dict[str, int]
) -> None:
    with edgeinfer.load(realdata / "models/yolov8n_int8_b.onnx") as model:
        assert (model.spec.origin, model.spec.head) == ("ultralytics", "yolov8")
        assert model.spec.notes == ()
        assert counts(model, picture_of(realdata, picture)) == expected


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("bus.jpg", {"person": 3, "bus": 1}),
        ("zidane.jpg", {"person": 2, "tie": 1}),
    ],
)
def test_yolox_without_any_metadata(realdata: Path, picture: str, expected: dict[str, int]) -> None:
    with edgeinfer.load(
        realdata / "models/yolox_nano_416.onnx",
        labels=realdata / "labels/coco.names",
        score_threshold=0.3,
    ) as model:
        assert (model.spec.origin, model.spec.head) == ("guessed", "yolox")
        assert counts(model, picture_of(realdata, picture)) == expected


def spec_file(folder: Path, **image: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps({"inputs": [image]}))
    return path


def test_squeezenet_in_float16_sees_what_its_pictures_show(realdata: Path, tmp_path: Path) -> None:
    """61.8% top-1 on the set of which these pictures are every seventh."""
    spec = spec_file(
        tmp_path,
        name="data_0",
        kind="image",
        size_hw=[224, 224],
        resize="center-crop",
        color="bgr",
        dtype="float16",
        scale=1.0,
        mean=[103.94, 116.78, 123.68],
    )
    lines = (realdata / "labels/imagenet_1000.txt").read_text().splitlines()
    names = [line.split(",")[1].strip().lower() for line in lines]
    right = 0
    pictures = sorted((realdata / "images/imagenet").iterdir())
    with open_model(realdata / "models/squeezenet_fp16.onnx", LoadOptions(spec=spec)) as model:
        assert model.spec.head == "softmax"
        for path in pictures:
            wanted = path.stem.split("_", 1)[1].replace("_", " ").lower()
            best = model(cv2.imread(str(path))).to_dict()["classes"][0]
            right += names[best["class_id"]] == wanted
    assert right / len(pictures) >= 0.5


def test_cifar10_reaches_its_accuracy(realdata: Path, tmp_path: Path, capsys: Any) -> None:
    spec = spec_file(
        tmp_path,
        name="modelInput",
        kind="image",
        size_hw=[32, 32],
        resize="stretch",
        mean=[0.5, 0.5, 0.5],
        std=[0.5, 0.5, 0.5],
    )
    labels = tmp_path / "labels.txt"
    labels.write_text(
        "airplane automobile bird cat deer dog frog horse ship truck".replace(" ", "\n")
    )
    model, data = realdata / "models/winml_cifar10.onnx", realdata / "images/cifar10_test"
    with open_model(model, LoadOptions()) as opened:
        spec.write_text(spec.read_text().replace("modelInput", opened.inputs[0].name))
    arguments = ["--spec", str(spec), "--labels", str(labels), "--format", "json"]
    assert cli.main(["validate", str(model), str(data), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["top1"] == pytest.approx(0.633, abs=0.002)


def test_mnist_is_read_with_the_metadata_that_it_carries(realdata: Path) -> None:
    folder = realdata / "labels/mnist"
    pictures = np.frombuffer(
        gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8
    ).reshape(-1, 28, 28)
    truth = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    with edgeinfer.load(realdata / "models/mnist_cntk.onnx") as model:
        right = sum(
            model(picture).to_dict()["classes"][0]["class_id"] == digit
            for picture, digit in zip(pictures[:2000], truth[:2000], strict=True)
        )
    assert right / 2000 == pytest.approx(0.984, abs=0.002)


@pytest.mark.parametrize("preprocess", ["host", "graph"])
def test_every_third_frame_of_a_real_video(realdata: Path, tmp_path: Path, preprocess: str) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["--stride", "25", "--json", str(out), "--preprocess", preprocess]
    code = cli.main(
        [
            "run",
            str(realdata / "models/yolov8n_int8_b.onnx"),
            str(realdata / "videos/one-by-one-person-detection.mp4"),
            *arguments,
        ]
    )
    assert code == 0
    truth = json.loads((realdata / "labels/videos.json").read_text())
    inside = truth["one-by-one-person-detection.mp4"]["occupied_intervals"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == len(range(0, 1394, 25))
    seen = {
        line["frame"]: any(d["label"] == "person" for d in line["detections"]) for line in lines
    }
    clear = [index for index in seen if all(abs(index - e) > 25 for pair in inside for e in pair)]
    right = sum(seen[i] == any(a <= i <= b for a, b in inside) for i in clear)
    assert right >= 0.9 * len(clear)


def test_a_header_that_claims_too_many_frames_is_said(
    realdata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(
        [
            "run",
            str(realdata / "models/mnist_cntk.onnx"),
            str(realdata / "videos/bgs_video02.avi"),
            "--format",
            "json",
        ]
    )
    captured = capsys.readouterr()
    assert code == 0
    assert json.loads(captured.out)["frames"] == 748
    assert "750" in captured.err and "748" in captured.err


def test_a_web_page_with_a_models_name_is_refused(realdata: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.onnx"
    shutil.copy(realdata / "broken/html_page.onnx", path)
    with pytest.raises(ModelFileError, match="web page"):
        edgeinfer.load(path)
