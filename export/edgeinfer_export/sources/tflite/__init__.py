"""TensorFlow Lite files, float and quantized, from the file alone.

The file is read here (`flatbuffer`, `model`) and converted by a table of operators (`operators`);
no framework takes part. Google's interpreter, in an environment of its own, is what parity is
measured against.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgeinfer.errors import MissingPackageError, ModelFileError, UsageError
from edgeinfer.spec import METADATA_KEY
from edgeinfer_export.sources.base import Reference, Request, SourceModel, Tolerance
from edgeinfer_export.sources.made import first_bytes, keep, sha256_of
from edgeinfer_export.sources.tflite.convert import Converted, convert
from edgeinfer_export.sources.tflite.meaning import picture_fields
from edgeinfer_export.sources.tflite.model import looks_like_tflite, parse
from edgeinfer_export.toolrooms import open_room

TITLE = "TensorFlow Lite"

_MAX_BYTES = 2 << 30
# Rounding to 8 bits goes the other way at ties from one implementation to the next, and one step
# early in a network becomes several at its end: the outputs agree on average, not one by one.
_ROUNDED = Tolerance(max=0.5, mean=0.02)


def recognizes(path: Path) -> bool:
    """Whether a file carries TFLite's mark."""
    return path.is_file() and looks_like_tflite(first_bytes(path, 8))


def open_source(request: Request) -> SourceModel:
    """Read and convert a file.

    Raises:
        ModelFileError: if it is missing, damaged, or holds an operator that is not supported.
        UsageError: if a shape is given for an input that is not there, or does not fit.
    """
    import onnx

    path = request.path
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelFileError("it is bigger than 2 GiB, the limit of the format")
        source = parse(path.read_bytes())
        converted = convert(source, request.input_shapes)
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UsageError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be converted as TensorFlow Lite: {error}.") from error
    fields = picture_fields(source)
    if fields is not None:
        converted.model.metadata_props.add(key=METADATA_KEY, value=json.dumps(fields))
    kept = keep(converted.model, request.folder, path)
    reference, notes = _reference(request, converted)
    return SourceModel(
        converted.model,
        kept,
        sha256_of(path),
        "tflite",
        reference,
        provenance={"onnx": onnx.__version__},
        notes=(*converted.notes, *notes),
        tolerance=_ROUNDED if converted.rounded else Tolerance(),
    )


def _reference(request: Request, converted: Converted) -> tuple[Reference | None, tuple[str, ...]]:
    """The file on Google's interpreter; a note where that cannot be had."""
    try:
        room = open_room("litert", request.say)
    except MissingPackageError as error:
        return None, (f"not compared with TensorFlow Lite itself: {error}",)
    order = {
        "path": str(request.path.resolve()),
        "inputs": converted.inputs,
        "outputs": converted.outputs,
    }
    script = "litert_reference.py"
    return room.reference(script, order, converted.outputs, request.folder, request.say), ()
