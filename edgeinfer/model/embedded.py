"""The variant of a model that takes raw pictures, made once and kept."""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
from pathlib import Path

from edgeinfer import cache
from edgeinfer.artifact import ModelFile, open_model_file, read_graph
from edgeinfer.errors import ModelFileError, SpecError
from edgeinfer.preprocess.planes import spec_of_bytes
from edgeinfer.spec import ModelSpec

# Raised when `embed` makes something else of the same model: older variants are then not reused.
REVISION = 1


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
    name = f"{cache.key_of(file.sha256, picture, REVISION)}.onnx"
    found = cache.stored("graphs", name)
    if found is None or not _undamaged(found, name):
        from edgeinfer.preprocess import embed

        data = embed(read_graph(file.path), picture).model.SerializeToString(deterministic=True)
        cache.note("graphs-sha256", name, {"sha256": hashlib.sha256(data).hexdigest()})
        found = cache.store("graphs", name, data) or _without_cache(data)
    return found, fed


def _undamaged(path: Path, name: str) -> bool:
    """Whether a stored graph is still what was stored."""
    noted = (cache.recall("graphs-sha256", name) or {}).get("sha256")
    try:
        return noted is not None and open_model_file(path).sha256 == noted
    except ModelFileError:
        return False


def _without_cache(data: bytes) -> Path:
    """A file for this process only, where the cache refuses; it ends with the process."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="edgeinfer-", suffix=".onnx", delete=False) as file:
        file.write(data)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Path(file.name)
