"""What a Hugging Face folder says of its model, read without transformers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx.parser
import pytest

from edgeinfer.errors import ModelFileError
from edgeinfer.spec import spec_fields
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.sources import Request, SourceModel, framework_of, open_source_model
from edgeinfer_export.sources.torch_tools import hugging_face as files
from edgeinfer_export.steps.meaning import spec_of

VIT = {
    "do_resize": True,
    "size": {"height": 32, "width": 48},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}
CROPPED = {
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "resample": 3,
}
CONVNEXT = {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875}


def described(processor: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, Any]:
    """The input of the spec, and what was noted under the key `notes`."""
    size = files.picture_size(processor, config or {})
    assert size is not None
    notes: list[str] = []
    found = files.picture_input("pixel_values", processor, size, notes)
    spec_fields(json.dumps({"inputs": [found]}), "the spec")
    return {**found, "notes": " ".join(notes)}


def test_pictures_are_stretched_and_normalized_as_the_processor_says() -> None:
    found = described(VIT)
    assert found["size_hw"] == [32, 48]
    assert (found["resize"], found["color"]) == ("stretch", "rgb")
    assert (found["mean"], found["std"]) == ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    assert found["scale"] == pytest.approx(1 / 255)
    assert "bilinear" in found["notes"]


def test_a_crop_out_of_a_larger_picture_is_said_not_to_be_exact() -> None:
    found = described(CROPPED)
    assert (found["size_hw"], found["resize"]) == ([224, 224], "center-crop")
    assert "resized to 256" in found["notes"]
    exact = described({**CROPPED, "size": {"shortest_edge": 224}})
    assert "resized to" not in exact["notes"].replace("are resized by", "")


@pytest.mark.parametrize(
    ("edge", "rule", "noted"), [(224, "center-crop", "resized to 256"), (384, "stretch", "")]
)
def test_convnext_crops_only_below_384(edge: int, rule: str, noted: str) -> None:
    found = described({**CONVNEXT, "size": {"shortest_edge": edge}})
    assert (found["size_hw"], found["resize"]) == ([edge, edge], rule)
    assert noted in found["notes"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (
            64,
            "the middle 64x64 of pictures resized to 73; this spec takes the whole shorter side: ",
        ),
        (96, "the middle 64x64 of pictures resized to 73; .*side, at 96x96: .* 1.32 times larger"),
        (48, "the middle 64x64 of pictures resized to 73; .*side, at 48x48: .* 1.52 times smaller"),
    ],
)
def test_another_size_does_not_change_what_a_model_was_trained_on(size: int, said: str) -> None:
    notes: list[str] = []
    processor = {**CONVNEXT, "size": {"shortest_edge": 64}}
    files.picture_input("pixel_values", processor, (size, size), notes)
    assert re.search(said, " ".join(notes))


def test_older_files_give_sizes_as_numbers() -> None:
    found = described({"size": 224, "do_resize": True, "image_mean": [0.5] * 3})
    assert (found["size_hw"], found["mean"]) == ([224, 224], [0.5] * 3)
    found = described({"size": 256, "crop_size": 224, "do_center_crop": True})
    assert (found["size_hw"], found["resize"]) == ([224, 224], "center-crop")


def test_flipped_channels_and_raw_values_are_kept() -> None:
    found = described({**VIT, "do_flip_channel_order": True, "do_rescale": False})
    assert (found["color"], found["scale"]) == ("bgr", 1.0)
    found = described({**VIT, "do_normalize": False})
    assert (found["mean"], found["std"]) == ([0.0] * 3, [1.0] * 3)


@pytest.mark.parametrize(("resample", "filter_"), [(0, "nearest"), (2, "area"), (3, "area")])
def test_the_filter_is_the_nearest_of_opencv(resample: int, filter_: str) -> None:
    found = described({**VIT, "resample": resample})
    assert found["interpolation"] == filter_
    assert ("scores move" in found["notes"]) == (resample != 0)


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"1": "dog", "0": "cat"}, ["cat", "dog"]),
        ({"0": "LABEL_0", "1": "LABEL_1"}, []),
        ({"0": "cat", "2": "dog"}, []),
        ({"first": "cat"}, []),
        (None, []),
    ],
)
def test_labels_are_those_of_the_classes_in_order(given: object, labels: list[str]) -> None:
    assert files.labels_of({"id2label": given}) == labels


@pytest.mark.parametrize(
    ("name", "problem", "classifies"),
    [
        ("ViTForImageClassification", None, True),
        ("BertForSequenceClassification", "single_label_classification", True),
        ("BertForSequenceClassification", "regression", False),
        ("BertForSequenceClassification", "multi_label_classification", False),
        ("BertForTokenClassification", None, False),
        ("Wav2Vec2ForCTC", None, False),
    ],
)
def test_only_one_score_per_class_is_a_classifier(
    name: str, problem: str | None, classifies: bool
) -> None:
    assert files.is_classifier(name, {"problem_type": problem}) is classifies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "model"
    found.mkdir()
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
    (found / "config.json").write_text(json.dumps(config))
    return found


def opened(folder: Path, tmp_path: Path) -> SourceModel:
    request = Request(path=folder, folder=tmp_path)
    assert framework_of(request) == "transformers"
    return open_source_model(request)


def test_a_folder_without_weights_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="holds no weights"):
        opened(folder, tmp_path)


def test_code_in_the_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = {"architectures": ["Net"], "auto_map": {"AutoModel": "net.Net"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="auto_map.*--trust-pickle"):
        opened(folder, tmp_path)


def test_a_configuration_without_architecture_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelFileError, match="names no architecture"):
        opened(folder, tmp_path)


def test_weights_that_run_code_are_refused(folder: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cposix\nsystem\n(X\x02\0\0\0lstR.")
    with pytest.raises(ModelFileError, match="posix.system"):
        opened(folder, tmp_path)


@pytest.mark.parametrize("config", ["{", "[]", '{"name": "web page"}', "\x00"])
def test_any_other_folder_is_not_recognized(folder: Path, tmp_path: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelFileError, match="no model that this version reads"):
        framework_of(Request(path=folder, folder=tmp_path))


GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 3, 32, 48] pixel_values) => (float[1, 2] logits) {
  means = ReduceMean <axes = [2, 3], keepdims = 0> (pixel_values)
  starts = Constant <value = int64[1] {0}> ()
  ends = Constant <value = int64[1] {2}> ()
  axes = Constant <value = int64[1] {1}> ()
  logits = Slice (means, starts, ends, axes)
}
"""


def source(tmp_path: Path, spec: dict[str, Any] | None) -> SourceModel:
    model = onnx.parser.parse_model(GRAPH)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return SourceModel(model, path, "", "transformers", None, spec=spec)


def test_what_the_reader_says_goes_before_a_guess(tmp_path: Path) -> None:
    notes: list[str] = []
    given = files.picture_input("pixel_values", VIT, (32, 48), notes)
    spec = {"task": "classify", "head": "logits", "labels": ["cat", "dog"], "inputs": [given]}
    found = spec_of(source(tmp_path, spec), ExportOptions())
    assert (found.task, found.head, found.labels) == ("classify", "logits", ("cat", "dog"))
    assert found.inputs[0].size_hw == (32, 48)
    assert found.inputs[0].resize == "stretch"
    assert found.inputs[0].mean == (0.5, 0.4, 0.3)
    labels = tmp_path / "labels.txt"
    labels.write_text("tom\nrex\n")
    assert spec_of(source(tmp_path, spec), ExportOptions(labels=labels)).labels == ("tom", "rex")


def test_what_the_reader_leaves_out_is_guessed(tmp_path: Path) -> None:
    found = spec_of(source(tmp_path, {"labels": ["cat", "dog"]}), ExportOptions())
    assert (found.head, found.labels) == ("logits", ("cat", "dog"))
    assert any("logits" in note for note in found.notes)
    assert spec_of(source(tmp_path, None), ExportOptions()).labels == ()


def test_a_spec_in_the_graph_goes_before_the_readers(tmp_path: Path) -> None:
    told = source(tmp_path, {"task": "classify", "head": "logits", "labels": ["cat", "dog"]})
    own = {"task": "tensor", "head": "tensor"}
    told.model.metadata_props.add(key="edgeinfer.spec", value=json.dumps(own))
    assert spec_of(told, ExportOptions()).task == "tensor"
