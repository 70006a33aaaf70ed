"""TensorFlow: SavedModel folders and frozen graphs, converted by tf2onnx in a room of its own."""

from __future__ import annotations

import os
from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.canonical import canonical
from edgeinfer_export.sources.made import first_bytes, keep, sha256_of
from edgeinfer_export.toolrooms import open_room

TITLE = "TensorFlow SavedModel or frozen graph"

# What old runtimes read and tf2onnx writes.
OPSET = 17
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_HEAD_BYTES = 4096


def recognizes(path: Path) -> bool:
    """Whether it is a SavedModel (its folder or its file), or a graph whose first node says so."""
    try:
        if path.is_dir():
            return any((path / name).is_file() for name in _SAVED_MODEL)
        if path.name in _SAVED_MODEL:
            return True
    except OSError:
        return False
    return path.is_file() and _starts_with_node(first_bytes(path, _HEAD_BYTES))


def open_source(request: Request) -> SourceModel:
    """Convert a SavedModel or a frozen graph.

    Raises:
        ModelFileError: if it is missing, damaged, not frozen, or holds an operator that is not
            supported.
        MissingPackageError: if TensorFlow's room cannot be built.
    """
    path = request.path
    if path.name in _SAVED_MODEL:
        path = path.absolute().parent
    if not path.exists():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    if path.is_dir() and not recognizes(path):
        raise ModelFileError(
            f"{path} is no SavedModel: it holds no saved_model.pb. Save the model with "
            f"tf.saved_model.save, or model.export in Keras."
        )
    return converted(request, path, "saved_model" if path.is_dir() else "frozen", "tensorflow")


def converted(request: Request, path: Path, kind: str, framework: str) -> SourceModel:
    """Let the room convert a model, and keep it open there as the reference.

    Raises:
        ModelFileError: with the reason that TensorFlow or tf2onnx gives.
        MissingPackageError: if the room cannot be built.
    """
    import onnx

    room = open_room("tensorflow", request.say)
    made = request.folder / "converted.onnx"
    order = {
        "kind": kind,
        "path": str(path.resolve()),
        "onnx": str(made),
        "opset": OPSET,
        "shapes": {name: list(shape) for name, shape in request.input_shapes.items()},
        "trust": request.trust_pickle,
    }
    try:
        digest = sha256_of(path)
        reference = room.reference("tensorflow_model.py", order, None, request.folder, request.say)
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be converted: {error}") from error
    model = onnx.load(str(made))
    os.unlink(made)
    canonical(model)
    return SourceModel(
        model,
        keep(model, request.folder, path),
        digest,
        framework,
        reference,
        provenance={str(k): str(v) for k, v in reference.answer["versions"].items()},
    )


def _starts_with_node(head: bytes) -> bool:
    """Whether a protobuf message starts as a GraphDef does: a node with a name and an operator."""
    length, at = _varint(head, 1) if head[:1] == b"\x0a" else (0, 0)
    if not length or head[at : at + 1] != b"\x0a":
        return False
    size, at = _varint(head, at + 1)
    name, at = head[at : at + size], at + size
    if not _printable(name) or head[at : at + 1] != b"\x12":
        return False
    size, at = _varint(head, at + 1)
    return _printable(head[at : at + size]) and 0 < size < 64


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where the next thing starts."""
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        value |= (data[position] & 0x7F) << shift
        shift += 7
        if not data[position] & 0x80:
            return value, position + 1
    return 0, len(data)


def _printable(text: bytes) -> bool:
    return bool(text) and all(33 <= byte < 127 for byte in text)
