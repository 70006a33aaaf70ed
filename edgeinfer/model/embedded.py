"""The variant of a model that takes raw pictures, made once and kept."""

from __future__ import annotations

import atexit
import dataclasses
from pathlib import Path

from edgeinfer import compiled, scratch
from edgeinfer.artifact import ModelFile, read_graph
from edgeinfer.errors import SpecError
from edgeinfer.preprocess.planes import spec_of_bytes
from edgeinfer.spec import InputSpec, ModelSpec

# Raised when `embed` makes something else of the same model: older variants are then not reused.
REVISION = 2
_NAME = "model.onnx"


def embedded_file(file: ModelFile, spec: ModelSpec) -> tuple[Path, ModelSpec]:
    """The variant's path and the spec of its input.

    Raises:
        SpecError: if preprocessing cannot move into this graph.
    """
    picture = next((item for item in spec.inputs if item.kind == "image"), None)
    if picture is None or not picture.dtype.startswith("float"):
        raise SpecError(
            "Preprocessing can move into the graph only where the model takes a float picture: "
            "give --preprocess host."
        )
    raw = spec_of_bytes(picture)
    fed = dataclasses.replace(
        spec, inputs=tuple(raw if item is picture else item for item in spec.inputs)
    )
    if file.external:
        raise SpecError(
            "Preprocessing cannot move into a model that keeps tensors in other files: give "
            "--preprocess host."
        )
    key = {"sha256": file.sha256, "input": repr(picture), "revision": str(REVISION)}
    folder = compiled.obtain(
        "embedded", key, lambda inside: _embed(file, picture, inside / _NAME), say=compiled.silent
    )
    if folder is not None:
        return folder / _NAME, fed
    return _without_cache(file, picture), fed


def _embed(file: ModelFile, picture: InputSpec, path: Path) -> None:
    from edgeinfer.preprocess import embed

    model = embed(read_graph(file.path), picture).model
    path.write_bytes(model.SerializeToString(deterministic=True))


def _without_cache(file: ModelFile, picture: InputSpec) -> Path:
    """A file for this process only, where the cache refuses; it ends with the process."""
    folder = scratch.folder("edgeinfer-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / _NAME
    _embed(file, picture, path)
    return path
