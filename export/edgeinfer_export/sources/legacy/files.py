"""Files of legacy checkpoints: reading them whole, finding the other half, naming them together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Reference, Request, SourceModel
from edgeinfer_export.sources.made import first_bytes, keep

if TYPE_CHECKING:
    import onnx

# A protobuf message, which the ONNX file has to be, ends at 2 GiB.
_MAX_BYTES = (1 << 31) - (1 << 20)
_MAX_TEXT_BYTES = 64 << 20


def read_bytes(path: Path, most: int = _MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        ModelFileError: if it is missing, unreadable, empty or too big.
    """
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise ModelFileError(f"{path} {what}: name the file itself.")
        size = path.stat().st_size
        if size == 0:
            raise ModelFileError(f"{path} is empty (0 bytes): copy or save it again.")
        if size > most:
            raise ModelFileError(f"{path} has {size} bytes, more than {most}, the limit for it.")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        ModelFileError: if it is missing, unreadable, empty, too big or no text.
    """
    data = read_bytes(path, _MAX_TEXT_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"{path} is no text (byte {error.start} is {data[error.start]:#04x}): is it the file "
            f"of weights? Name the file that describes the network."
        ) from error


def start_of(path: Path, count: int = 4096) -> bytes:
    """The first bytes of a file, nothing where it cannot be read."""
    return first_bytes(path, count) if path.is_file() else b""


def beside(path: Path, endings: Sequence[str]) -> Path | None:
    """A file of the same stem in the same folder, or the only one there with such an ending."""
    for ending in endings:
        twin = path.with_name(path.stem + ending)
        if twin != path and twin.is_file():
            return twin
    found = sorted(
        other
        for other in path.parent.iterdir()
        if other.is_file() and other != path and other.name.lower().endswith(tuple(endings))
    )
    return found[0] if len(found) == 1 else None


def no_partner(path: Path, has: str, lacks: str, endings: Iterable[str]) -> ModelFileError:
    """The error for one half of a checkpoint whose other half is not there."""
    names = " or ".join(path.stem + ending for ending in endings)
    return ModelFileError(
        f"{path} holds {has} only, and {lacks} is not beside it as {names}: put it there, or name "
        f"it with --weights."
    )


def hash_of(paths: Iterable[Path]) -> str:
    """One hash for all files of a checkpoint, in the order given."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def finish(
    request: Request,
    model: onnx.ModelProto,
    framework: str,
    files: Sequence[Path],
    *,
    reference: Reference | None = None,
    provenance: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> SourceModel:
    """Save what was converted and say what it was made from.

    Raises:
        ModelFileError: if the graph is no valid ONNX, or the runtime refuses it.
    """
    import onnx

    return SourceModel(
        model=model,
        path=keep(model, request.folder, request.path),
        sha256=hash_of(files),
        framework=framework,
        reference=reference,
        provenance={"onnx": onnx.__version__, **(provenance or {})},
        notes=tuple(notes),
    )
