"""Where a spec comes from, what is guessed, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import SpecError, UsageError
from edgeinfer.model import LoadOptions, open_session
from edgeinfer.resolve import Opened, Overrides, resolve
from edgeinfer.spec import ModelSpec, TensorSpec

MakeModel = Callable[..., Path]
CLASSIFIER = """
net (float[1, 3, 8, 8] images) => (float[1, 2] out)
<float[2, 192] w, float[2] b>
{ flat = Flatten(images)  %s }
"""


def opened(
    shape: tuple[int | str, ...],
    picture: tuple[int | str, ...] = (1, 3, 64, 64),
    path: Path = Path("model.onnx"),
    dtype: str = "float32",
    **metadata: str,
) -> Opened:
    return Opened(
        path,
        (TensorSpec("images", dtype, picture),),
        (TensorSpec("out", "float32", shape),),
        metadata,
    )


def ours(**fields: Any) -> dict[str, str]:
    spec = {
        "schema": "edgeinfer.spec/1",
        "task": "detect",
        "head": "yolov8",
        "labels": ["a", "b", "c"],
        "inputs": [{"name": "images", "kind": "image", "size_hw": [64, 64], "color": "bgr"}],
    }
    return {"edgeinfer.spec": json.dumps({**spec, **fields})}


def test_our_own_metadata_is_taken_as_it_is() -> None:
    spec = resolve(opened((1, 7, 84), **ours()), Overrides())
    assert (spec.origin, spec.head, spec.labels) == ("edgeinfer", "yolov8", ("a", "b", "c"))
    assert spec.inputs[0].color == "bgr"
    assert spec.thresholds == {"score": 0.25, "iou": 0.45, "max_detections": 300}


def test_ultralytics_metadata_gives_labels_size_and_preprocessing() -> None:
    spec = resolve(
        opened(
            (1, 6, "n"),
            ("batch", 3, "height", "width"),
            stride="32",
            names="{0: 'cat', 1: 'dog'}",
            task="detect",
            imgsz="[320, 416]",
        ),
        Overrides(),
    )
    assert spec.origin == "ultralytics"
    assert spec.labels == ("cat", "dog")
    assert spec.inputs[0].size_hw == (320, 416)
    assert (spec.inputs[0].resize, spec.inputs[0].color) == ("letterbox", "rgb")
    assert spec.head == "yolov8"


def test_ultralytics_models_with_nms_are_end2end() -> None:
    metadata = {"stride": "32", "names": "{0: 'cat'}", "args": "{'nms': True}", "task": "detect"}
    assert resolve(opened((1, 300, 6), **metadata), Overrides()).head == "end2end"


def test_a_sidecar_describes_a_model_without_metadata(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    (tmp_path / "net.spec.json").write_text(ours()["edgeinfer.spec"])
    spec = resolve(opened((1, 7, 84), path=path), Overrides())
    assert (spec.origin, spec.labels) == ("sidecar", ("a", "b", "c"))


def test_options_override_single_fields(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"labels": ["x", "y", "z"]}')
    overrides = Overrides(spec=path, score_threshold=0.6, classes=("y",))
    spec = resolve(opened((1, 7, 84), **ours()), overrides)
    assert spec.labels == ("x", "y", "z")
    assert spec.thresholds["score"] == 0.6
    assert spec.keep_classes == (1,)
    assert spec.inputs[0].color == "bgr"


def test_what_is_guessed_is_said() -> None:
    spec = resolve(opened((1, 7, 84)), Overrides())
    assert spec.origin == "guessed"
    assert any("'yolov8'" in note for note in spec.notes)
    assert any("colour rgb" in note for note in spec.notes)


def test_a_guess_that_fits_two_heads_names_both() -> None:
    with pytest.raises(SpecError, match="end2end and yolox.*--head"):
        resolve(opened((1, 84, 6)), Overrides())


def test_naming_the_head_settles_an_ambiguous_shape() -> None:
    assert resolve(opened((1, 84, 6)), Overrides(head="yolox")).head == "yolox"


def test_the_graph_settles_softmax_or_logits(make_model: MakeModel) -> None:
    for body, head in (
        ("g = Gemm <transB = 1> (flat, w, b) out = Softmax <axis = 1> (g)", "softmax"),
        ("out = Gemm <transB = 1> (flat, w, b)", "logits"),
    ):
        text = CLASSIFIER.replace("%s", body)
        text = text.replace("float[2, 192] w", f"float[2, 192] w = {{{', '.join(['0'] * 384)}}}")
        path = make_model(text.replace("float[2] b", "float[2] b = {0, 1}"), f"{head}.onnx")
        session = open_session(path, LoadOptions())
        assert session.resolve(LoadOptions()).head == head
        session.close()


def test_metadata_that_contradicts_the_shape_is_an_error_naming_both() -> None:
    with pytest.raises(SpecError, match="'softmax'.*fits end2end"):
        resolve(
            opened((1, 300, 6), **ours(task="classify", head="softmax", labels=[])), Overrides()
        )


def test_a_label_list_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("one\ntwo\n")
    with pytest.raises(SpecError, match="3 classes.*2 names"):
        resolve(opened((1, 7, 84), **ours()), Overrides(labels=labels))


def test_a_named_head_that_counts_other_classes_than_the_model_names_is_the_wrong_one() -> None:
    with pytest.raises(SpecError, match="tell 79 classes apart, the model names 3.*fits yolov8"):
        resolve(opened((1, 7, 84), **ours()), Overrides(head="yolov5"))


def test_an_empty_or_missing_label_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    for name, said in (("empty.txt", "is empty"), ("none.txt", "does not exist")):
        with pytest.raises(SpecError, match=said):
            resolve(opened((1, 7, 84), **ours()), Overrides(labels=tmp_path / name))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"head": "yolo8"}, "Did you mean 'yolov8'"),
        ({"color": "red"}, "unknown key 'color'"),
        ({"schema": "edgeinfer.spec/9"}, "edgeinfer.spec/9"),
        ({"target": "x86_vnni"}, "one of x86-any, x86-vnni"),
        ({"labels": "a"}, "'labels'"),
        ({"thresholds": {"score": 7}}, "score threshold is 7"),
        ({"inputs": [{"name": "images", "resize": "squash"}]}, "resize is 'squash'"),
        ({"inputs": [{"name": "picture"}]}, "inputs are: images"),
        ({"inputs": [{"name": "images", "size_hw": [32, 64]}]}, "differs from the graph"),
        ({"inputs": [{"name": "images", "color": "gray"}]}, r"3 channel.*--spec"),
        ({"inputs": [{"name": "images", "dtype": "float16"}]}, r"takes float32.*--spec"),
        ({"inputs": [{"name": "images", "layout": "nhwc"}]}, r"64 channel.*--spec"),
        ({"inputs": [{"name": "images", "std": [0, 1, 1]}]}, "not 0"),
        ({"inputs": [{"name": "images", "std": [1e-40, 1, 1]}]}, "float32 holds"),
        ({"inputs": [{"name": "images", "size_hw": [0, 64]}]}, "size_hw"),
        ({"inputs": [{"name": "images", "size_hw": [8.5, 64]}]}, "whole numbers"),
        ({"inputs": [{"name": "images", "size_hw": [1e400, 64]}]}, "whole numbers"),
        ({"inputs": [{"name": "images", "pad_value": 1e400}]}, "whole number"),
        ({"inputs": [{"name": "images"}, {"name": "images"}]}, "one object for each"),
        ({"task": "classify"}, "belongs to the task 'detect'"),
    ],
)
def test_a_spec_that_does_not_fit_says_where(fields: dict[str, Any], said: str) -> None:
    with pytest.raises((SpecError, UsageError), match=said):
        resolve(opened((1, 7, 84), **ours(**fields)), Overrides())


def test_broken_json_in_the_metadata_is_named() -> None:
    with pytest.raises(SpecError, match="not valid JSON"):
        resolve(opened((1, 7, 84), **{"edgeinfer.spec": "{"}), Overrides())


def test_a_model_without_a_picture_is_a_tensor_model() -> None:
    spec = resolve(opened((1, 3), (1, 42)), Overrides())
    assert (spec.task, spec.head, spec.inputs[0].kind) == ("tensor", "tensor", "tensor")


def test_an_open_size_is_guessed_by_task_and_said() -> None:
    spec = resolve(opened((1, 7, "n"), (1, 3, "h", "w")), Overrides())
    assert spec.inputs[0].size_hw == (640, 640)
    assert any("640x640" in note for note in spec.notes)


@pytest.mark.parametrize(
    ("picture", "size_hw"),
    [((1, 3, "h", 96), (640, 96)), ((1, 32, "w", 3), (32, 640)), (("n", 3, "h", 640), (640, 640))],
)
def test_a_side_that_the_graph_says_is_no_guess(picture: Any, size_hw: tuple[int, int]) -> None:
    spec = resolve(opened((1, 7, "n"), picture), Overrides())
    assert spec.inputs[0].size_hw == size_hw


@pytest.mark.parametrize(("dtype", "mean"), [("int8", 128.0), ("int32", 0.0), ("int64", 0.0)])
def test_whole_numbers_are_a_picture_where_the_spec_says_so(dtype: str, mean: float) -> None:
    described = {"name": "images", "kind": "image", "color": "bgr", "dtype": dtype}
    spec = resolve(opened((1, 7, 84), dtype=dtype, **ours(inputs=[described])), Overrides())
    given = spec.inputs[0]
    assert (given.kind, given.dtype, given.size_hw) == ("image", dtype, (64, 64))
    assert (given.scale, given.mean, given.std) == (1.0, (mean,), (1.0,))
    assert resolve(opened((1, 7), dtype=dtype), Overrides()).inputs[0].kind == "tensor"


def test_windows_ml_metadata_describes_the_pixels() -> None:
    spec = resolve(
        opened(
            (1, 10),
            (1, 1, 28, 28),
            **{"Image.BitmapPixelFormat": "Gray8", "Image.NominalPixelRange": "NominalRange_0_255"},
        ),
        Overrides(head="logits"),
    )
    assert (spec.inputs[0].color, spec.inputs[0].scale) == ("gray", 1.0)


def test_an_unknown_task_is_suggested() -> None:
    with pytest.raises(UsageError, match="'detect'"):
        resolve(opened((1, 7, 84)), Overrides(task="detection"))


def test_a_spec_survives_the_way_through_json() -> None:
    spec = resolve(opened((1, 7, 84), **ours(precision="int8", target="arm")), Overrides())
    again = resolve(
        opened((1, 7, 84), **{"edgeinfer.spec": json.dumps(spec.to_dict())}), Overrides()
    )
    assert isinstance(again, ModelSpec)
    assert again == spec


def theirs(**metadata: str) -> dict[str, str]:
    """What Ultralytics writes."""
    known = {"stride": "32", "task": "classify", "imgsz": "[64, 64]", "names": "{0: 'a', 1: 'b'}"}
    return {**known, **metadata}


def test_class_numbers_of_ultralytics_may_be_texts() -> None:
    names = str({str(index): f"n{index}" for index in range(12)})
    spec = resolve(opened((1, 12), **theirs(names=names)), Overrides())
    assert spec.labels[2] == "n2"


@pytest.mark.parametrize(
    "odd",
    [
        {"args": "[1]"},
        {"imgsz": "['a', 'b']"},
        {"imgsz": "[None, None]"},
        {"imgsz": "[1e400, 3]"},
        {"names": "{(1, 2): 'a', (1, 'x'): 'b'}"},
    ],
)
def test_odd_metadata_of_ultralytics_is_passed_over(odd: dict[str, str]) -> None:
    assert resolve(opened((1, 2), **theirs(**odd)), Overrides(head="softmax")).task == "classify"


def test_metadata_and_graph_of_different_sizes_are_both_named() -> None:
    metadata = theirs(task="detect", imgsz="[640, 640]")
    with pytest.raises(SpecError, match=r"\[640, 640\].*\[1, 3, 64, 64\]"):
        resolve(opened((1, 6, 84), **metadata), Overrides())


def test_metadata_with_fewer_names_than_classes_says_both_counts(tmp_path: Path) -> None:
    model = opened((1, 7, 84), **theirs(task="detect"))
    with pytest.raises(SpecError, match="tells 3 classes apart, but its metadata has 2 names"):
        resolve(model, Overrides())
    labels = tmp_path / "names.txt"
    labels.write_text("x\ny\nz\n")
    assert resolve(model, Overrides(labels=labels)).labels == ("x", "y", "z")


@pytest.mark.parametrize("shape", [(2, 6), (4, 6)])
def test_rows_of_numbers_are_no_scores_by_class(shape: tuple[int, ...]) -> None:
    assert resolve(opened(shape), Overrides()).head == "tensor"
