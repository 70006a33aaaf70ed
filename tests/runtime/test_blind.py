"""Models that see nothing: the graph alone shows it, or a few answers do."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer.blind import coarse_scores, dead_channels
from edgeinfer.cli import main as cli
from edgeinfer.describe import describe_model
from edgeinfer.model import LoadOptions

HEAD = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 4, 8] boxes, float[1, 2, 8] logits) => (float[1, 6, 8] y)
{
  scores = Sigmoid (logits)
  joined = Concat <axis = 1> (boxes, scores)
  q = QuantizeLinear (joined, step, zero)
  y = DequantizeLinear (q, step, zero)
}
"""


def head(step: float, text: str = HEAD) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(step), "step"))
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "zero"))
    return model


@pytest.mark.parametrize(("step", "said"), [(2.7, "exactly 0"), (0.8, "0 or 1 and nothing else")])
def test_one_step_over_boxes_and_scores_is_called_out(step: float, said: str) -> None:
    (found,) = coarse_scores(head(step))
    assert "'y'" in found
    assert f"{step:.3g}" in found
    assert said in found


def test_a_fine_step_is_none() -> None:
    assert coarse_scores(head(1 / 255)) == ()


def test_a_coarse_step_over_boxes_alone_is_none() -> None:
    text = HEAD.replace("joined = Concat <axis = 1> (boxes, scores)", "joined = Relu (boxes)")
    text = text.replace("y = Dequant", "b = Dequant").replace(
        "(q, step, zero)\n}", "(q, step, zero)\n  y = Concat <axis = 1> (b, scores)\n}"
    )
    assert coarse_scores(head(2.7, text)) == ()


def test_a_gate_inside_the_network_is_no_score() -> None:
    text = HEAD.replace("y = Dequant", "b = Dequant").replace(
        "(q, step, zero)\n}", "(q, step, zero)\n  y = Mul (b, b)\n}"
    )
    assert coarse_scores(head(2.7, text)) == ()


def test_channels_that_are_zero_on_everything_are_called_out() -> None:
    random = np.random.default_rng(0)
    runs = [{"y": random.random((1, 6, 50)).astype(np.float32)} for _ in range(3)]
    assert dead_channels(runs) == ()
    for run in runs:
        run["y"][0, 4:] = 0
    (found,) = dead_channels(runs)
    assert "2 of 6 channels of the output 'y'" in found
    runs[1]["y"][0, 4:] = 0.5
    assert dead_channels(runs) == ()


def test_what_is_zero_altogether_has_no_dead_channels() -> None:
    assert dead_channels([{"y": np.zeros((1, 6, 50), np.float32)}]) == ()
    assert dead_channels([]) == ()


def test_inspect_lets_a_quantized_model_look_at_pictures(tmp_path: Path) -> None:
    # The scores die by a multiplication, which the walk over the graph does not follow.
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 3, 8, 8] x) => (float[1, 6, 64] y)
        <float step = {0.01}, uint8 zero = {0}, int64[3] flat = {1, 3, 64}, float none = {0}>
        {
          q = QuantizeLinear (x, step, zero)
          d = DequantizeLinear (q, step, zero)
          r = Reshape (d, flat)
          dead = Mul (r, none)
          y = Concat <axis = 1> (r, dead)
        }
        """
    )
    spec: dict[str, Any] = {"schema": "edgeinfer.spec/1", "task": "tensor", "head": "tensor"}
    spec["inputs"] = [{"name": "x", "size_hw": [8, 8], "resize": "stretch"}]
    model.metadata_props.add(key="edgeinfer.spec", value=json.dumps(spec))
    onnx.save(model, str(tmp_path / "net.onnx"))
    found = describe_model(tmp_path / "net.onnx", LoadOptions(use_plan=False))
    assert any("3 of 6 channels" in text for text in found["warnings"])
    assert (found["provenance"], found["golden"]) == (None, None)


def test_provenance_that_somebody_spoilt_is_none(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
    )
    model.metadata_props.add(key="edgeinfer.provenance", value="[" * 100000)
    onnx.save(model, str(tmp_path / "net.onnx"))
    found = describe_model(tmp_path / "net.onnx", LoadOptions(use_plan=False))
    assert found["provenance"] is None


@pytest.mark.realdata
def test_a_real_blind_pose_model_is_called_out(realdata: Path) -> None:
    path = realdata / "broken" / "all_scores_zero_pose_int8.onnx"
    found = describe_model(path, LoadOptions(use_plan=False))
    assert any("every score is exactly 0" in text for text in found["warnings"])


@pytest.mark.realdata
def test_a_real_detector_that_sees_is_not(realdata: Path) -> None:
    path = realdata / "models" / "yolov8n_int8_b.onnx"
    found = describe_model(path, LoadOptions(use_plan=False))
    assert not any("blind" in text for text in found["warnings"])


def a_detector(step: float, path: Path) -> list[str]:
    """Write a model; returns the command that finds nothing with it."""
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 3, 8, 8] x) => (float[1, 9, 64] y)
        <int64[3] flat = {1, 3, 64}>
        {
          r = Reshape (x, flat)
          scores = Sigmoid (r)
          joined = Concat <axis = 1> (r, r, scores)
          q = QuantizeLinear (joined, step, zero)
          y = DequantizeLinear (q, step, zero)
        }
        """
    onnx.save(head(step, text), str(path))
    return ["run", str(path), "synthetic", "--head", "yolov8", "--score-threshold", "1"]


@pytest.mark.parametrize(("step", "blind"), [(2.7, True), (1 / 255, False)])
def test_a_run_that_finds_nothing_says_that_the_model_is_blind(
    step: float, blind: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*a_detector(step, tmp_path / "net.onnx"), "--frames", "2"]) == 0
    assert ("this model is blind" in capsys.readouterr().err) is blind


@pytest.mark.parametrize("other", [None, b"another"])
def test_a_model_that_is_gone_after_the_run_costs_it_nothing(
    other: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, pipe = tmp_path / "net.onnx", tmp_path / "pipe"
    os.mkfifo(pipe)

    def replace() -> None:
        with pipe.open("rb") as lines:  # it opens with the first line
            model.unlink()
            if other is not None:
                model.write_bytes(other)
            lines.read()

    thread = threading.Thread(target=replace, daemon=True)
    thread.start()
    # More lines than a pipe holds: the run waits until they are read.
    arguments = [*a_detector(2.7, model), "--frames", "400", "--json", str(pipe)]
    assert cli.main(arguments) == 0
    thread.join(60)
    assert "400 frames" in capsys.readouterr().out
