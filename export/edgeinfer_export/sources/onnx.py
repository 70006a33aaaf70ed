"""ONNX files as sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.artifact import ModelFile, open_model_file
from edgeinfer.errors import ModelFileError
from edgeinfer.providers import Vetting, runtime_version
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.outputs import meaning, tensors_out
from edgeinfer_export.sources.unknown import refuse_unknown
from edgeinfer_export.steps.shapes import check_open, settle_shapes
from edgeinfer_export.steps.write import MAX_BYTES, SMALL_BYTES, load_external, size_of

if TYPE_CHECKING:
    import onnx

TITLE = "ONNX"


def recognizes(path: Path) -> bool:
    """Whether the file is named as ONNX files are: a protobuf message has no mark of its own."""
    return path.is_file() and path.suffix.lower() == ".onnx"


def open_source(request: Request) -> SourceModel:
    """Read an ONNX file of the user's.

    Raises:
        ModelFileError: see `open_graph`.
        UsageError: if `input_shapes` do not fit the graph.
    """
    source = open_graph(request)
    check_open(source.model, request.input_shapes)
    return source


def open_graph(request: Request) -> SourceModel:
    """Read an ONNX file with its weights, after a child process proved that it can be opened.

    Where it is bigger than a protobuf message may be, its big tensors stay where they are.

    Raises:
        ModelFileError: if it is missing, empty, cut off, something else, no valid model, or needs
            an operator that nothing here runs (named, with its place).
        UsageError: if a shape is given that does not fit it.
    """
    path = request.path
    file = open_model_file(path)
    model = _read(file)
    if not model.graph.node or not model.graph.output:
        raise ModelFileError(f"{path} holds no graph: it has no nodes or no outputs.")
    try:
        _vet(file)
        reference = _reference(file, model, request.folder)
    except ModelFileError as error:
        refuse_unknown(path, model, error)
        raise
    plain, notes, classes = tensors_out(str(path), model)
    if plain is not model:
        model, path = plain, request.folder / "tensors.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        reference = Session(path)
    spec = meaning(path, model, classes)
    settle_shapes(model, request.input_shapes)
    return SourceModel(model, path, file.sha256, "onnx", reference, notes=notes, spec=spec)


def _vet(file: ModelFile) -> None:
    vetting = Vetting(file)
    try:
        vetting.opened(runtime_version())
        vetting.finish()
    finally:
        vetting.close()


def _reference(file: ModelFile, model: onnx.ModelProto, folder: Path) -> Session:
    """The file as it is; as one file where the runtime wants shapes inside the graph.

    Raises:
        ModelFileError: if ONNX Runtime refuses it.
    """
    try:
        return Session(file.path)
    except ModelFileError:
        if not file.external or size_of(model) > MAX_BYTES:
            raise
        whole = folder / "whole.onnx"
        whole.write_bytes(model.SerializeToString(deterministic=True))
        return Session(whole)


def _read(file: ModelFile) -> onnx.ModelProto:
    import onnx

    path = file.path
    try:
        model = onnx.load(str(path), load_external_data=False)
        if file.external:
            whole = file.size + sum(part.stat().st_size for part in file.external)
            most = None if whole <= MAX_BYTES else SMALL_BYTES
            load_external(model, path.resolve().parent, most)
        # The checker refuses numbers that it does not know; what matters is lowered later anyway.
        model.ir_version = min(model.ir_version, onnx.IR_VERSION)
        # By path, so that tensors in other files are looked at there, whatever their size.
        try:
            onnx.checker.check_model(str(path) if file.external else model)
        except onnx.checker.ValidationError as error:
            refuse_unknown(path, model, error)
            raise
    except ModelFileError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"{path} is not a complete and valid ONNX model ({first[:300]}): export it again."
        ) from error
    return model
