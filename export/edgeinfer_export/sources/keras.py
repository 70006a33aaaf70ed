"""Keras: `.keras` archives and `.h5` files of Keras 2 and 3, converted in TensorFlow's room."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.made import first_bytes
from edgeinfer_export.sources.tensorflow import converted

TITLE = "Keras"

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


def recognizes(path: Path) -> bool:
    """Whether a file is HDF5, which Keras alone of all frameworks uses, or a Keras archive."""
    if not path.is_file():
        return False
    head = first_bytes(path, 8)
    if head == _HDF5:
        return True
    if not head.startswith(_ZIP):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            names = set(file.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return path.suffix.lower() == ".keras"
    return {"config.json", "metadata.json"} <= names


def open_source(request: Request) -> SourceModel:
    """Convert a Keras model, by the Keras that wrote it.

    Raises:
        ModelFileError: if it is missing, damaged, holds weights only, layers that are not Keras's
            own, or code that is not trusted.
        MissingPackageError: if TensorFlow's room cannot be built.
    """
    path = request.path
    if not path.is_file():
        raise ModelFileError(f"The Keras model {path} does not exist. Check the path.")
    if not recognizes(path):
        raise ModelFileError(
            f"{path} is no Keras model: it is neither HDF5 nor a .keras archive. It may be cut "
            f"off; save it again with model.save('model.keras')."
        )
    return converted(request, path, "keras", "keras")
