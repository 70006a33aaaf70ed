from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import edgeinfer
from edgeinfer.errors import InputError
from edgeinfer_bench.models import yolov8n_like
from edgeinfer_bench.peers.plain_onnxruntime import PlainSession
from edgeinfer_bench.peers.plain_video import decode, letterbox


def written(folder: Path, text: str) -> Path:
    path = folder / "model.onnx"
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 13]>\n' + text)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_plain_session_runs_the_unmodified_model(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[1, 4] x) => (float[1, 4] y) { y = Abs(x) }")
    (output,) = PlainSession(path, 1).run()
    assert output.shape == (1, 4) and output.any()


@pytest.mark.parametrize(
    "text",
    [
        "g (float[n, 4] x) => (float[n, 4] y) { y = Abs(x) }",
        "g (float[4] x, float[4] z) => (float[4] y) { y = Add(x, z) }",
        "g (string[4] x) => (string[4] y) { y = Identity(x) }",
    ],
)
def test_the_plain_session_says_which_models_it_takes(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="one input of full shape"):
        PlainSession(written(tmp_path, text), 1)


def test_the_hand_written_detector_finds_what_edgeinfer_finds(tmp_path: Path) -> None:
    path = yolov8n_like(tmp_path)
    source = edgeinfer.open_source("synthetic:1280x720")
    picture = np.array(next(source).data)
    source.close()
    tensor, scale, left, top = letterbox(picture, 640)
    session = PlainSession(path, 1)
    session._feed = {"images": tensor}
    theirs = decode(session.run()[0], scale, left, top)
    with edgeinfer.load(path, "cpu", threads=1) as model:
        ours = model(picture).value
    assert isinstance(ours, edgeinfer.Detections)
    assert sorted(item[0] for item in theirs) == sorted(ours.class_ids.tolist())
    best = max(theirs, key=lambda item: item[1])
    assert best[1] == pytest.approx(float(ours.scores[0]), abs=0.02)
