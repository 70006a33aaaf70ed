"""Files that are no models, or reach outside their folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeinfer import cache
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import ModelFileError
from edgeinfer.model import LoadOptions, open_session

MakeModel = Callable[..., Path]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'\n{"error": 404}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"\x89PNG\r\n", "PNG picture"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"[net]\nbatch=1\nwidth=320\n", "a text that begins with .*edgeinfer export"),
        (b'name: "net"\nlayer {\n  name: "data"\n}\n', "a text that begins with"),
        (b"\x40" + bytes(7) + b'{"a":{"dtype":"F32"}}', "safetensors.*edgeinfer export"),
    ],
)
def test_a_file_that_is_no_model_is_called_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=said):
        open_model_file(path)


def test_what_is_larger_than_any_onnx_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelFileError, match="1099511627776 bytes.*2 GiB"):
        open_model_file(path)


def test_a_missing_model_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "detector.onnx").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="did you mean .*detector.onnx"):
        open_model_file(tmp_path / "detectr.onnx")
    with pytest.raises(ModelFileError, match="Check the path"):  # only the ending is alike
        open_model_file(tmp_path / "ab.onnx")


def test_a_folder_is_no_model_and_its_models_are_named(tmp_path: Path) -> None:
    (tmp_path / "detector.onnx").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="is a folder.*detector.onnx"):
        open_model_file(tmp_path)


def test_a_changed_file_has_another_hash(brightness_model: Path) -> None:
    before = open_model_file(brightness_model).sha256
    assert open_model_file(brightness_model).sha256 == before
    brightness_model.write_bytes(brightness_model.read_bytes() + b"\x00" * 0 + b"\x82\x01\x00")
    assert open_model_file(brightness_model).sha256 != before


def test_a_damaged_cache_costs_nothing_but_time(
    brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")
    before = open_model_file(brightness_model).sha256
    for entry in (tmp_path / "cache").rglob("*.json"):
        entry.write_text("{ damaged")
    assert open_model_file(brightness_model).sha256 == before


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(cache, "_root", tmp_path / "file")
    assert len(open_model_file(brightness_model).sha256) == 64


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_model_is_refused(brightness_model: Path, keep: float) -> None:
    data = brightness_model.read_bytes()
    brightness_model.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelFileError):
        open_session(brightness_model, LoadOptions())


def test_a_protobuf_of_another_framework_is_no_model_and_export_is_named(tmp_path: Path) -> None:
    """A message without a graph, as a Caffe model's looks to ONNX: field 1 is a string there."""
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"\xa2\x06\x04\x0a\x02ip")
    with pytest.raises(ModelFileError, match="protobuf.*edgeinfer export"):
        open_session(path, LoadOptions())


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ModelFileError, match="not a complete ONNX file"):
        open_session(path, LoadOptions())


def test_a_model_that_aborts_onnx_runtime_is_refused_and_this_process_lives(
    tmp_path: Path,
) -> None:
    node = helper.make_node("Split", ["x"], ["a", "b"], axis=0, num_outputs=1)
    x, a, b = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xab")
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [a, b]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    path = tmp_path / "split.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError):
        open_session(path, LoadOptions())


def external(tmp_path: Path, location: str) -> Path:
    weights = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", location
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "models" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", ""])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(np.ones(16, np.float32).tobytes())
    with pytest.raises(ModelFileError, match="keeps the tensor 'w'"):
        open_model_file(external(tmp_path, location))


def test_external_data_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.ones(16, np.float32).tobytes())
    path = external(tmp_path, "w.bin")
    (path.parent / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelFileError, match="outside"):
        open_model_file(path)
    (path.parent / "w.bin").unlink()
    (path.parent / "w.bin").hardlink_to(tmp_path / "secret")
    with pytest.raises(ModelFileError, match="hard link"):
        open_model_file(path)


def test_external_data_beside_the_model_is_read_and_counts_for_its_hash(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    with pytest.raises(ModelFileError, match="is missing"):
        open_model_file(path)
    (path.parent / "w.bin").write_bytes(np.ones(16, np.float32).tobytes())
    before = open_model_file(path)
    assert before.external
    (path.parent / "w.bin").write_bytes(np.zeros(16, np.float32).tobytes())
    assert open_model_file(path).sha256 != before.sha256
    assert onnx.load(str(path), load_external_data=False).graph.initializer[0].name == "w"


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad\xff.onnx")
    path.write_bytes(b"anything")
    with pytest.raises(ModelFileError, match="not UTF-8"):
        open_model_file(path)
