"""ONNX files as sources."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.artifact import open_model_file
from edgeinfer.errors import ModelFileError
from edgeinfer.providers import Vetting, runtime_version
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources.base import Request, SourceModel

TITLE = "ONNX"

# A protobuf message ends at 2 GiB; quantizing needs the whole model in one.
_MAX_BYTES = (1 << 31) - (1 << 20)


def recognizes(path: Path) -> bool:
    """Whether the file is named as ONNX files are: a protobuf message has no mark of its own."""
    return path.is_file() and path.suffix.lower() == ".onnx"


def open_source(request: Request) -> SourceModel:
    """Read an ONNX file with its weights, after a child process proved that it can be opened.

    Raises:
        ModelFileError: if it is missing, empty, cut off, something else, too big, or no valid
            model.
    """
    import onnx

    path = request.path
    file = open_model_file(path)
    if file.size + sum(part.stat().st_size for part in file.external) > _MAX_BYTES:
        raise ModelFileError(f"{path} is bigger than 2 GiB with its weights, the limit for export.")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"{path} is not a complete and valid ONNX model ({first[:300]}): export it again."
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ModelFileError(f"{path} holds no graph: it has no nodes or no outputs.")
    vetting = Vetting(file)
    try:
        vetting.opened(runtime_version())
        vetting.finish()
    finally:
        vetting.close()
    return SourceModel(model, path, file.sha256, "onnx", Session(path))
