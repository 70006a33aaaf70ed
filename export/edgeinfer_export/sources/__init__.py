"""Where models come from: one file per framework, each gives an ONNX graph.

To add one: write a module with the members of `Reader` (base.py) and name it in `SOURCES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from edgeinfer.errors import ModelFileError, UsageError, suggest
from edgeinfer_export.sources.base import Reader, Reference, Request, SourceModel, Tolerance

__all__ = [
    "SOURCES",
    "Reader",
    "Reference",
    "Request",
    "SourceModel",
    "Tolerance",
    "open_source_model",
]

# Framework to the module that reads it, in the order in which `auto` asks them.
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "onnx": "edgeinfer_export.sources.onnx",
        "sklearn": "edgeinfer_export.sources.sklearn",
        "pytorch": "edgeinfer_export.sources.pytorch",
        "torchscript": "edgeinfer_export.sources.torchscript",
        "transformers": "edgeinfer_export.sources.transformers",
        "caffe": "edgeinfer_export.sources.caffe",
        "mxnet": "edgeinfer_export.sources.mxnet",
        "darknet": "edgeinfer_export.sources.darknet",
        "paddle": "edgeinfer_export.sources.paddle",
        "tflite": "edgeinfer_export.sources.tflite",
        "keras": "edgeinfer_export.sources.keras",
        "tensorflow": "edgeinfer_export.sources.tensorflow",
    }
)


# Whose program and weights may lie in files of their own.
_WEIGHTS_APART = ("pytorch", "caffe", "mxnet", "darknet", "paddle")


def reader_of(framework: str) -> Reader:
    """The reader of a framework.

    Raises:
        UsageError: if there is none.
    """
    if framework not in SOURCES:
        raise UsageError(f"There is no framework '{framework}'. {suggest(framework, SOURCES)}")
    return cast(Reader, importlib.import_module(SOURCES[framework]))


def framework_of(request: Request) -> str:
    """The framework whose reader recognizes the model.

    Raises:
        ModelFileError: if it is missing, or nobody does.
    """
    if request.entry is not None:
        return "pytorch"
    path = request.path
    if not path.exists():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    found = _recognized(path)
    if found is not None:
        return found
    titles = ", ".join(reader_of(name).TITLE for name in SOURCES)
    raise ModelFileError(
        f"{path} is no model that this version reads ({titles}): it may be damaged or cut off. "
        f"Export it again, or name what it is with --framework."
    )


def _recognized(path: Path) -> str | None:
    return next((name for name in SOURCES if reader_of(name).recognizes(path)), None)


def open_source_model(request: Request, framework: str = "auto") -> SourceModel:
    """Read a trained model.

    Args:
        framework: a name of `SOURCES`, or ``auto`` to go by the content.

    Raises:
        UsageError: if there is no such framework, or an option is missing.
        ModelFileError: if it cannot be read.
        MissingPackageError: if the extra that reads it is not installed.
    """
    name = framework_of(request) if framework == "auto" else framework
    reader = reader_of(name)
    for option, given, takers in (
        ("--weights", request.weights, _WEIGHTS_APART),
        ("--entry", request.entry, ("pytorch",)),
    ):
        if given is not None and name not in takers:
            raise UsageError(
                f"{option} {given} is for {', '.join(takers)}; {request.path} is read as "
                f"{reader.TITLE}, which has all in one place: leave it out, or name what it is "
                f"with --framework."
            )
    try:
        return reader.open_source(request)
    except ModelFileError as error:
        # Its own advice would be to do what was just done.
        other = None if reader.recognizes(request.path) else _recognized(request.path)
        if other is None:
            raise
        raise ModelFileError(
            f"{request.path} is read as {reader.TITLE}, as --framework {name} says, and is "
            f"{reader_of(other).TITLE}: leave --framework out, or give --framework {other}."
        ) from error
