"""What a correct runtime sees on real models of faces, text, poses, speech and sensors."""

from __future__ import annotations

import gzip
import json
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main as cli
from edgeinfer.results import Oriented, Poses

pytestmark = pytest.mark.realdata


def picture_of(realdata: Path, name: str) -> np.ndarray:
    (path,) = (realdata / "images").rglob(name)
    return cv2.imread(str(path))


@pytest.mark.parametrize("name", ["ultraface_rfb_320", "yunet_n_640"])
def test_faces_are_counted_as_others_count_them(realdata: Path, name: str) -> None:
    truth = json.loads((realdata / "labels/faces.json").read_text())
    with edgeinfer.load(realdata / f"models/{name}.onnx") as model:
        assert (model.spec.task, model.spec.origin) == ("face", "guessed")
        found = {file: len(model(picture_of(realdata, file)).value) for file in truth}  # type: ignore[arg-type]
    assert found == truth


def test_yunets_landmarks_lie_in_their_faces(realdata: Path) -> None:
    with edgeinfer.load(realdata / "models/yunet_n_640.onnx") as model:
        value = model(picture_of(realdata, "imgs_9.jpg")).value
    assert isinstance(value, Poses) and len(value) == 8
    for (x0, y0, x1, y1), points in zip(value.boxes_xyxy, value.keypoints_xys, strict=True):
        assert ((points[:, 0] > x0) & (points[:, 0] < x1)).all()
        assert ((points[:, 1] > y0) & (points[:, 1] < y1)).all()
        assert points[:2, 1].max() < points[3:, 1].min()  # eyes above the mouth


@pytest.mark.parametrize(
    ("picture", "expected"),
    [("bus.jpg", {"person": 3, "bus": 1}), ("zidane.jpg", {"person": 2, "tie": 2})],
)
def test_fastestdet_without_any_metadata(
    realdata: Path, picture: str, expected: dict[str, int]
) -> None:
    labels = realdata / "labels/coco.names"
    path = realdata / "models/fastestdet_352.onnx"
    with edgeinfer.load(path, labels=labels, score_threshold=0.55) as model:
        assert model.spec.head == "fastestdet"
        found = model(picture_of(realdata, picture)).to_dict()["detections"]
    assert Counter(item["label"] for item in found) == expected


def test_lines_of_text_are_found_and_none_in_the_dark(realdata: Path) -> None:
    with edgeinfer.load(realdata / "models/ppocrv3_det.onnx", head="db") as model:
        counts = {
            name: len(model(picture_of(realdata, name)).to_dict()["lines"])
            for name in ("ch_en_num.jpg", "empty_black.jpg")
        }
    assert counts["ch_en_num.jpg"] in (18, 19)
    assert counts["empty_black.jpg"] == 0


def test_a_map_of_text_is_told_from_a_map_of_classes_by_its_user(
    realdata: Path, capsys: Any
) -> None:
    code = cli.main(["inspect", str(realdata / "models/ppocrv3_det.onnx")])
    captured = capsys.readouterr()
    assert "semantic and db" in captured.out + captured.err
    assert code in (0, 1)


def test_a_pose_model_with_dead_scores_decodes_and_finds_nothing(realdata: Path) -> None:
    with edgeinfer.load(realdata / "broken/all_scores_zero_pose_int8.onnx") as model:
        assert (model.spec.task, model.spec.head) == ("pose", "yolov8-pose")
        assert model.spec.head_options == {"kpt_shape": [17, 3]}
        assert model.spec.notes == ()
        result = model(picture_of(realdata, "bus.jpg"))
    assert result.to_dict()["instances"] == []
    assert not isinstance(result.value, Oriented)


def test_speech_is_heard_with_the_state_carried(realdata: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    fields = {
        "task": "sequence",
        "head": "sequence",
        "state": {"stateN": "state"},
        "inputs": [
            {"name": "input", "kind": "tensor", "context": 64},
            {"name": "sr", "kind": "tensor", "value": 16000},
        ],
    }
    spec.write_text(json.dumps(fields))
    with wave.open(str(realdata / "audio/silero_test.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)
    with edgeinfer.load(realdata / "models/silero_vad_16k_op15.onnx", spec=spec) as model:
        speech = [
            model({"": sound[None, start : start + 512]}).to_dict()["outputs"]["output"]["values"][
                0
            ]
            > 0.5
            for start in range(0, len(sound) - 511, 512)
        ]
    assert np.mean(speech) == pytest.approx(0.774, abs=0.002)


def validated(capsys: Any, *arguments: str) -> dict[str, Any]:
    assert cli.main(["validate", *arguments, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_hands_are_told_apart_from_their_landmarks(
    realdata: Path, tmp_path: Path, capsys: Any
) -> None:
    model = str(realdata / "models/hand_keypoint_classifier.onnx")
    table = str(realdata / "labels/hand/keypoint.csv")
    found = validated(capsys, model, table, "--task", "classify")
    assert (found["n"], found["metrics"]["top1"]) == (4450, pytest.approx(0.965, abs=0.001))
    spec = tmp_path / "spec.json"
    spec.write_text('{"inputs": [{"name": "score_threshold", "kind": "tensor", "value": 0.5}]}')
    model = str(realdata / "models/hand_point_history_lstm.onnx")
    table = str(realdata / "labels/hand/point_history.csv")
    found = validated(capsys, model, table, "--task", "classify", "--spec", str(spec))
    assert (found["n"], found["metrics"]["top1"]) == (5296, pytest.approx(0.980, abs=0.001))


def test_digits_are_read_from_an_npz(realdata: Path, tmp_path: Path, capsys: Any) -> None:
    folder, path = realdata / "labels/mnist", tmp_path / "digits.npz"
    pictures = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    digits = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(pictures, np.uint8).reshape(-1, 28, 28)[:2000]
    np.savez(path, x=x, y=np.frombuffer(digits, np.uint8)[:2000])
    found = validated(capsys, str(realdata / "models/mnist_cntk.onnx"), str(path))
    assert found["metrics"]["top1"] == pytest.approx(0.984, abs=0.001)
