"""Preprocessing and NMS in the graph: the same answers, or no file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer.errors import CheckFailed, SpecError
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.results import Detections
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer_export import export
from edgeinfer_export.steps import embed as step
from edgeinfer_export.steps.nms import embed_nms

OPTIONS = LoadOptions(provider="cpu", preprocess="host", use_plan=False)


def spec_in(path: Path) -> dict[str, Any]:
    texts = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    spec: dict[str, Any] = json.loads(texts["edgeinfer.spec"])
    return spec


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_preprocessing_in_the_graph_takes_bytes_and_sees_the_same(
    source: Path, pictures: Path, tmp_path: Path, precision: str
) -> None:
    done = export(
        source,
        tmp_path / "out.onnx",
        precision=precision,
        calibration=pictures,
        embed_preprocess=True,
    )
    (given,) = onnx.load(str(done.output)).graph.input
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    (told,) = spec_in(done.output)["inputs"]
    assert (told["dtype"], told["layout"], told["color"]) == ("uint8", "nhwc", "bgr")
    assert done.parity["embedded"] == {"share": 1.0, "answers": 24, "extra": 0, "pictures": 8}


def test_nms_in_the_graph_gives_the_rows_of_end2end(
    source: Path, pictures: Path, labelled: Path, tmp_path: Path
) -> None:
    done = export(
        source, tmp_path / "out.onnx", calibration=pictures, validation=labelled, embed_nms=True
    )
    spec = spec_in(done.output)
    assert (spec["head"], spec["thresholds"]["iou"]) == ("end2end", 0.45)
    (output,) = onnx.load(str(done.output)).graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [1, 300, 6]
    assert done.parity["embedded"]["share"] == 1.0
    assert any(note.startswith("with NMS in the graph map50_95 is 1.0000") for note in done.notes)


def test_a_comparison_on_which_nothing_was_seen_is_not_called_agreement(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    black = [np.zeros((32, 32, 3), np.uint8)] * 2
    monkeypatch.setattr(step, "_pictures", lambda model, data: iter(black))
    done = export(source, tmp_path / "out.onnx", embed_nms=True)
    assert done.parity["embedded"] == {"share": None, "answers": 0, "extra": 0, "pictures": 2}
    assert any("nothing was seen on the 2 inputs" in note for note in done.notes)


# Rows that overlap, of two classes, among them a tie; the same for every head.
BOXES = np.array(
    [[20, 20, 10, 10], [21, 20, 10, 10], [20, 21, 10, 10], [50, 50, 12, 8], [50, 50, 12, 8]],
    np.float32,
)
SCORES = np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.85], [0.6, 0.6], [0.02, 0.03]], np.float32)


def _constant_model(output: np.ndarray[Any, Any], head: str) -> onnx.ModelProto:
    """A graph whose answer is always the same."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 3, 64, 64] x) => (float[1, 1, 1] out)
    <float none = {0}> { m = ReduceMean <keepdims = 0> (x) z = Mul (m, none) out = Add (c, z) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(output, "c"))
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, output.shape)
    )
    model.metadata_props.add(key="edgeinfer.spec", value=json.dumps(_spec(head).to_dict()))
    return model


def _spec(head: str) -> ModelSpec:
    return ModelSpec(
        "detect",
        head,
        ("a", "b"),
        (InputSpec("x", size_hw=(64, 64), resize="stretch"),),
        thresholds={"score": 0.05, "iou": 0.45, "max_detections": 7},
    )


def _raw(head: str) -> np.ndarray[Any, Any]:
    if head == "yolov8":
        return np.concatenate((BOXES, SCORES), axis=1).T[None]
    sure = np.full((len(BOXES), 1), 0.9, np.float32)
    rows = np.concatenate((BOXES, sure, SCORES), axis=1)
    if head == "yolov5":
        return rows[None]
    # 84 cells at strides 8, 16 and 32; the boxes go to the first cells of the finest grid.
    raw = np.zeros((1, 84, 7), np.float32)
    raw[0, :5, 4:] = rows[:, 4:]
    raw[0, :5, :2] = BOXES[:, :2] / 8 - np.stack((np.arange(5), np.zeros(5)), axis=1)
    raw[0, :5, 2:4] = np.log(BOXES[:, 2:] / 8)
    return raw


@pytest.mark.parametrize("head", ["yolov8", "yolov5", "yolox"])
def test_every_head_keeps_what_the_host_keeps(head: str, tmp_path: Path) -> None:
    plain = _constant_model(_raw(head), head)
    onnx.save(plain, str(tmp_path / "plain.onnx"))
    made = embed_nms(plain, _spec(head))
    made.metadata_props[0].value = json.dumps(
        dataclasses.replace(_spec(head), head="end2end").to_dict()
    )
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, str(tmp_path / "made.onnx"))
    picture = np.zeros((64, 64, 3), np.uint8)
    with (
        open_model(tmp_path / "plain.onnx", OPTIONS) as one,
        open_model(tmp_path / "made.onnx", OPTIONS) as other,
    ):
        wanted, got = one(picture).value, other(picture).value
    assert isinstance(wanted, Detections) and isinstance(got, Detections)
    assert len(wanted) == 3
    assert got.class_ids.tolist() == wanted.class_ids.tolist()
    np.testing.assert_allclose(got.scores, wanted.scores, rtol=1e-6)
    np.testing.assert_allclose(got.boxes_xyxy, wanted.boxes_xyxy, atol=1e-3)


def test_a_graph_that_sees_other_things_is_not_written(
    source: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = step.embed_nms

    def wrong(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
        return real(model, dataclasses.replace(spec, thresholds={"score": 1.0}))

    monkeypatch.setattr(step, "embed_nms", wrong)
    with pytest.raises(CheckFailed, match=r"NMS in the graph only \d+ of \d+ answers.*not written"):
        export(source, tmp_path / "out.onnx", calibration=pictures, embed_nms=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detector.onnx", "pictures"]


def test_what_can_never_move_is_refused_before_work_starts(tmp_path: Path, source: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }"""
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "a.onnx"))
    for options, why in (
        ({"embed_preprocess": True}, "takes arrays"),
        ({"embed_nms": True}, "heads yolov8, yolov5, yolox"),
    ):
        steps: list[str] = []
        with pytest.raises(SpecError, match=why):
            export(
                tmp_path / "a.onnx",
                tmp_path / "out.onnx",
                task="tensor",
                progress=lambda name, done, total: steps.append(name),  # noqa: B023
                **options,
            )
        assert steps == ["read"]
