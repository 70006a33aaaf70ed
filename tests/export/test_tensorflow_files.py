"""Which files are Keras's or TensorFlow's: by content, without either."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgeinfer.errors import MissingPackageError, ModelFileError
from edgeinfer_export.sources import Request, framework_of, keras, tensorflow


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


NODE = field(1, field(1, b"input/picture") + field(2, b"Placeholder"))


def request(path: Path) -> Request:
    return Request(path=path, folder=path.parent)


def test_a_frozen_graph_starts_with_a_node(tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(NODE + NODE)
    assert framework_of(request(path)) == "tensorflow"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        NODE[:6],
        field(1, b"a network's name") + field(2, b"data"),  # Caffe
        b"\x08\x08\x12\x07pytorch",  # ONNX
        field(1, field(1, b"two words") + field(2, b"Op")),
        b"\x89HDF\r\n\x1a",
    ],
)
def test_other_messages_do_not(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.pb"
    path.write_bytes(data)
    assert not tensorflow.recognizes(path)
    assert not keras.recognizes(path)


def test_a_saved_model_is_a_folder_with_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert not tensorflow.recognizes(folder)
    with pytest.raises(ModelFileError, match=r"no saved_model\.pb.*model\.export"):
        tensorflow.open_source(request(folder))
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    assert framework_of(request(folder)) == "tensorflow"
    assert framework_of(request(folder / "saved_model.pb")) == "tensorflow"


def test_keras_files_are_hdf5_or_archives_with_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    assert framework_of(request(path)) == "keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("metadata.json", "{}")
    assert framework_of(request(path)) == "keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", "")
    assert not keras.recognizes(path)


def test_an_archive_that_is_cut_off_is_still_called_keras(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    assert keras.recognizes(path)
    other = tmp_path / "model.zip"
    other.write_bytes(path.read_bytes())
    assert not keras.recognizes(other)


def test_what_is_missing_or_foreign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        keras.open_source(request(tmp_path / "nothing.h5"))
    with pytest.raises(ModelFileError, match="does not exist"):
        tensorflow.open_source(request(tmp_path / "nothing.pb"))
    page = tmp_path / "model.h5"
    page.write_text("<!DOCTYPE html>")
    with pytest.raises(ModelFileError, match=r"neither HDF5 nor a \.keras archive"):
        keras.open_source(request(page))


def test_a_room_that_cannot_be_built_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, say: object) -> None:
        raise MissingPackageError(f"the environment '{name}' cannot be built")

    monkeypatch.setattr(tensorflow, "open_room", refuse)
    path = tmp_path / "graph.pb"
    path.write_bytes(NODE)
    with pytest.raises(MissingPackageError, match="'tensorflow' cannot be built"):
        tensorflow.open_source(request(path))


@pytest.mark.realdata
def test_real_checkpoints_are_told_apart(realdata: Path) -> None:
    folder = realdata / "checkpoints"
    found = {
        path.relative_to(folder).as_posix(): framework_of(request(path))
        for kind in ("keras", "tf", "tflite")
        for path in sorted((folder / kind).iterdir())
    }
    assert {name.partition("/")[0] for name in found} == {"keras", "tf", "tflite"}
    for name, framework in found.items():
        assert framework == {"tf": "tensorflow"}.get(name.partition("/")[0], name.partition("/")[0])
    for kind in ("caffe", "darknet", "mxnet", "pytorch", "torchscript"):
        for path in (folder / kind).iterdir():
            assert not keras.recognizes(path) and not tensorflow.recognizes(path), path
    assert not tensorflow.recognizes(folder / "paddle" / "face_mask_detection")
    assert not tensorflow.recognizes(folder / "paddle" / "face_mask_detection" / "__model__")
