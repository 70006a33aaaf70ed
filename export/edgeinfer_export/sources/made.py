"""What every reader that converts does with its graph: checked, vetted, written, hashed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.artifact import open_model_file
from edgeinfer.errors import ModelFileError
from edgeinfer.providers import Vetting, runtime_version

if TYPE_CHECKING:
    import onnx

_BLOCK = 1 << 20


def keep(model: onnx.ModelProto, folder: Path, source: Path) -> Path:
    """Write a converted graph, after a child process proved that it can be opened.

    A file that was made to do harm can turn into a graph that does.

    Raises:
        ModelFileError: if it is no valid graph, or the runtime refuses it.
    """
    import onnx

    path = folder / "source.onnx"
    try:
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString(deterministic=True))
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"{source} became no valid ONNX graph ({first[:300]}): it may be damaged, or use an "
            f"operator in a way that this version does not know. Report this with the model."
        ) from error
    vetting = Vetting(open_model_file(path))
    try:
        vetting.opened(runtime_version())
        vetting.finish()
    except ModelFileError as error:
        raise ModelFileError(f"{source} became a graph that cannot run: {error}") from error
    finally:
        vetting.close()
    return path


def sha256_of(path: Path) -> str:
    """The hash of a file, or of all files in a folder with their names."""
    if path.is_file():
        return _hash(path).hexdigest()
    digest = hashlib.sha256()
    for item in sorted(item for item in path.rglob("*") if item.is_file()):
        digest.update(f"{item.relative_to(path).as_posix()}\0".encode())
        digest.update(_hash(item).digest())
    return digest.hexdigest()


def _hash(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest


def first_bytes(path: Path, count: int) -> bytes:
    """How a file begins; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
