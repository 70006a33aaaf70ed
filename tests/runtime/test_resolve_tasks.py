"""Tasks beyond boxes and classes: what metadata say, what is guessed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeinfer.errors import SpecError, UsageError
from edgeinfer.resolve import Opened, Overrides, resolve
from edgeinfer.spec import TensorSpec


def opened(
    *shapes: tuple[int | str, ...],
    dtype: str = "float32",
    picture: tuple[int | str, ...] = (1, 3, 64, 64),
    **metadata: str,
) -> Opened:
    outputs = tuple(TensorSpec(f"out{i}", dtype, shape) for i, shape in enumerate(shapes))
    inputs = (TensorSpec("images", "float32", picture),)
    return Opened(Path("model.onnx"), inputs, outputs, metadata)


def ultralytics(task: str, **more: str) -> dict[str, str]:
    plain = {"stride": "32", "names": "{0: 'a'}", "task": task, "imgsz": "[64, 64]"}
    return {**plain, **more}


@pytest.mark.parametrize(
    ("task", "shapes", "more", "head"),
    [
        ("pose", [(1, 56, 84)], {"kpt_shape": "[17, 3]"}, "yolov8-pose"),
        ("pose", [(1, 11, 84)], {"kpt_shape": "[3, 2]"}, "yolov8-pose"),
        ("segment", [(1, 37, 84), (1, 32, 16, 16)], {}, "yolov8-seg"),
        ("obb", [(1, 6, 84)], {}, "yolov8-obb"),
        ("classify", [(1, 10)], {"names": str({i: str(i) for i in range(10)})}, "softmax"),
        ("pose", [(1, 300, 57)], {"kpt_shape": "[17, 3]", "end2end": "True"}, "yolov8-pose"),
        ("segment", [(1, 300, 38), (1, 32, 16, 16)], {"args": "{'nms': True}"}, "yolov8-seg"),
        ("obb", [(1, 300, 7)], {"end2end": "True"}, "yolov8-obb"),
    ],
)
def test_ultralytics_tasks_have_their_heads(
    task: str, shapes: list[Any], more: dict[str, str], head: str
) -> None:
    spec = resolve(opened(*shapes, **ultralytics(task, **more)), Overrides())
    assert (spec.task, spec.head, spec.origin, spec.notes) == (task, head, "ultralytics", ())
    assert spec.inputs[0].resize == ("center-crop" if task == "classify" else "letterbox")
    if task != "classify":
        assert spec.thresholds["score"] == 0.25


@pytest.mark.parametrize(
    ("shape", "more"), [((1, 300, 6), {"head": "RTDETRDecoder"}), ((1, 300, 84), {})]
)
def test_rtdetr_of_ultralytics_fills_its_input(shape: Any, more: dict[str, str]) -> None:
    names = str({number: str(number) for number in range(80)})
    spec = resolve(opened(shape, **ultralytics("detect", names=names, **more)), Overrides())
    assert (spec.head, spec.inputs[0].resize) == ("rtdetr", "stretch")
    assert spec.head_options == ({"end2end": True} if more else {})


@pytest.mark.parametrize(
    ("names", "shape", "head"),
    [
        ("['a']", (1, 252, 6), "yolov5"),
        ("['a']", (1, "n", 6), "yolov5"),
        ("{0: 'a', 1: 'b'}", (1, 252, 7), "yolov5"),
        ("{0: 'a', 1: 'b'}", (1, 6, 84), "yolov8"),
    ],
)
def test_metadata_without_a_task_are_those_of_the_older_exporters(
    names: str, shape: Any, head: str
) -> None:
    spec = resolve(opened(shape, stride="32", names=names), Overrides())
    assert (spec.head, spec.origin, spec.notes) == (head, "ultralytics", ())


@pytest.mark.parametrize("picture", [(1, 1, 64, 64), (1, 64, 64, 1)])
def test_grey_models_of_ultralytics_take_grey_pictures(picture: Any) -> None:
    metadata = ultralytics("detect", channels="1")
    given = resolve(opened((1, 5, 84), picture=picture, **metadata), Overrides()).inputs[0]
    assert (given.color, given.resize, given.scale) == ("gray", "letterbox", 1 / 255)


def test_metadata_that_contradict_the_shape_are_an_error() -> None:
    with pytest.raises(SpecError, match="yolov8-pose.*56 values, this one has 40"):
        resolve(opened((1, 40, 84), **ultralytics("pose", kpt_shape="[17, 3]")), Overrides())


def test_a_task_of_ultralytics_that_is_unknown_here_runs_as_tensors_and_says_so() -> None:
    spec = resolve(opened((1, 40, 84), **ultralytics("depth")), Overrides())
    assert spec.head == "tensor"
    assert any("task 'depth'" in note for note in spec.notes)


@pytest.mark.parametrize(
    ("shapes", "picture", "head"),
    [
        ([(1, 116, 84), (1, 32, 16, 16)], (1, 3, 64, 64), "yolov8-seg"),
        ([(1, 21, 64, 64)], (1, 3, 64, 64), "semantic"),
        ([(1, 85, 22, 22)], (1, 3, 352, 352), "fastestdet"),
        ([(1, 84, 4), (1, 84, 2), (1, 84, 10)], (1, 3, 64, 64), "retinaface"),
        ([(1, 300, 84)], (1, 3, 640, 640), "rtdetr"),
    ],
)
def test_shapes_that_say_enough_are_guessed(shapes: Any, picture: Any, head: str) -> None:
    spec = resolve(opened(*shapes, picture=picture), Overrides())
    assert (spec.head, spec.origin) == (head, "guessed")
    assert any(f"'{head}'" in note for note in spec.notes)


# 235 boxes are what UltraFace's anchors give for 64x64.
FACES = """
<ir_version: 8, opset_import: ["" : 17]>
faces (float[1, 3, 64, 64] images) => (float[1, 235, 2] scores, float[1, 235, 4] boxes) {
  pooled = GlobalAveragePool (images)
  score_cells = Conv (pooled, score_w)
  score_shape = Constant <value = int64[3] {1, 235, 2}> ()
  score_rows = Reshape (score_cells, score_shape)
  scores = Softmax (score_rows)
  box_cells = Conv (pooled, box_w)
  box_shape = Constant <value = int64[3] {1, 235, 4}> ()
  rows = Reshape (box_cells, box_shape)
  %s
}
"""


def opened_faces(folder: Path, last: str) -> Opened:
    model = onnx.parser.parse_model(FACES % last)
    for name, count in (("score_w", 470), ("box_w", 940)):
        weights = np.zeros((count, 3, 1, 1), np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.save(model, str(folder / "faces.onnx"))
    outputs = (
        TensorSpec("scores", "float32", (1, 235, 2)),
        TensorSpec("boxes", "float32", (1, 235, 4)),
    )
    inputs = (TensorSpec("images", "float32", (1, 3, 64, 64)),)
    return Opened(folder / "faces.onnx", inputs, outputs, {})


@pytest.mark.parametrize(
    ("last", "options"),
    [
        ("boxes = Identity (rows)", {"encoded": True}),
        ("boxes = Concat <axis = 1> (rows)", {"encoded": True}),
        ("boxes = Exp (rows)", {}),
    ],
)
def test_faces_whose_boxes_come_straight_from_convolutions_are_brought_to_corners(
    tmp_path: Path, last: str, options: dict[str, Any]
) -> None:
    found = opened_faces(tmp_path, last)
    for overrides in (Overrides(), Overrides(head="ultraface")):
        spec = resolve(found, overrides)
        assert (spec.head, dict(spec.head_options)) == ("ultraface", options)
        assert any("regressions" in note for note in spec.notes) == bool(options)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 56, 84), "yolov8 and yolov8-pose"),
        ((1, 1, 64, 64), "semantic and db"),
    ],
)
def test_shapes_that_fit_two_heads_name_both(shape: Any, said: str) -> None:
    with pytest.raises(SpecError, match=f"{said}.*--head"):
        resolve(opened(shape), Overrides())


@pytest.mark.parametrize(
    ("shape", "dtype", "head"),
    [
        ((1, 10), "uint8", "softmax"),
        ((1, 10), "bool", "logits"),
        ((1, 84, 84), "int8", "yolov8"),
        ((1, 300, 6), "int32", "end2end"),
    ],
)
def test_scores_without_a_scale_are_no_scores(shape: Any, dtype: str, head: str) -> None:
    assert resolve(opened(shape, dtype=dtype), Overrides()).task in ("tensor", "semantic")
    with pytest.raises(SpecError, match=f"'out0' holds {dtype}.*DequantizeLinear.*--task tensor"):
        resolve(opened(shape, dtype=dtype), Overrides(head=head))


def test_a_task_settles_what_a_shape_leaves_open() -> None:
    assert resolve(opened((1, 56, 84)), Overrides(task="pose")).head == "yolov8-pose"
    assert resolve(opened((1, 56, 84)), Overrides(task="detect")).head == "yolov8"
    assert resolve(opened((1, 7, 84)), Overrides(task="obb")).head == "yolov8-obb"
    assert resolve(opened((1, 40, 97)), Overrides(task="text-recognize")).head == "ctc"
    assert resolve(opened((1, 1)), Overrides(task="anomaly")).head == "anomaly-score"
    assert resolve(opened((1, 3, 64, 64)), Overrides(task="anomaly")).head == "reconstruction"
    assert resolve(opened((1, 128)), Overrides(task="embed")).head == "embed"
    spec = resolve(opened(("N",), dtype="int64"), Overrides(task="classify"))
    assert spec.head == "class-ids"


def test_labels_settle_it_too(tmp_path: Path) -> None:
    spec = {"labels": ["person"], "task": "pose"}
    ours = {"edgeinfer.spec": json.dumps(spec)}
    assert resolve(opened((1, 56, 84), **ours), Overrides()).head == "yolov8-pose"


def test_head_options_travel_in_the_spec() -> None:
    fields = {
        "schema": "edgeinfer.spec/1",
        "task": "pose",
        "head": "yolov8-pose",
        "labels": ["hand"],
        "inputs": [{"name": "images", "kind": "image"}],
        "head_options": {"kpt_shape": [21, 2]},
    }
    ours = {"edgeinfer.spec": json.dumps(fields)}
    spec = resolve(opened((1, 47, 84), **ours), Overrides())
    assert spec.head_options == {"kpt_shape": [21, 2]}
    again = {"edgeinfer.spec": json.dumps(spec.to_dict())}
    assert resolve(opened((1, 47, 84), **again), Overrides()) == spec


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"head_options": {"kpt_shap": [1, 2]}}, "Did you mean 'kpt_shape'"),
        ({"head_options": [1]}, "'head_options' is"),
        ({"head_options": {"kpt_shape": [17]}}, "'kpt_shape' of the head"),
        ({"inputs": [{"name": "images", "value": "x"}]}, "'value' is"),
        ({"inputs": [{"name": "images", "context": -1}]}, "context is -1"),
        ({"inputs": [{"name": "images", "context": 2}]}, "kind 'tensor'"),
    ],
)
def test_options_that_do_not_fit_say_where(fields: dict[str, Any], said: str) -> None:
    spec = {"task": "pose", "head": "yolov8-pose", "inputs": [{"name": "images"}], **fields}
    with pytest.raises(SpecError, match=said):
        resolve(opened((1, 56, 84), **{"edgeinfer.spec": json.dumps(spec)}), Overrides())


def test_faces_have_a_label_and_a_threshold_of_their_own(tmp_path: Path) -> None:
    spec = resolve(opened_faces(tmp_path, "boxes = Exp (rows)"), Overrides())
    assert (spec.labels, spec.thresholds["score"]) == (("face",), 0.5)
    assert spec.inputs[0].mean == (127, 127, 127)


def test_classes_cannot_be_chosen_where_there_are_none() -> None:
    with pytest.raises(UsageError, match="--classes.*'embed'"):
        resolve(opened((1, 128)), Overrides(task="embed", classes=("0",)))


def test_thresholds_of_other_tasks_are_the_models() -> None:
    fields = {
        "task": "anomaly",
        "head": "anomaly-score",
        "inputs": [{"name": "images"}],
        "thresholds": {"anomaly": 3.5},
    }
    ours = {"edgeinfer.spec": json.dumps(fields)}
    assert resolve(opened((1, 1), **ours), Overrides()).thresholds == {"anomaly": 3.5}
