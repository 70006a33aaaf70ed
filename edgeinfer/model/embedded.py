"""The variant of a model that takes raw pictures, made once and kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edgeinfer import cache
from edgeinfer.artifact import ModelFile, read_graph
from edgeinfer.errors import SpecError
from edgeinfer.spec import InputSpec, ModelSpec

# Raised when `embed` makes something else of the same model: older variants are then not reused.
_REVISION = 1


def raw_input(spec: ModelSpec) -> InputSpec:
    """The input of the variant: uint8, BGR, height x width x channels, as decoders deliver it.

    Raises:
        SpecError: if the model takes no picture, or bytes already.
    """
    picture = next((item for item in spec.inputs if item.kind == "image"), None)
    if picture is None or not picture.dtype.startswith("float"):
        raise SpecError(
            "Preprocessing can move into the graph only where the model takes a float picture: "
            "give --preprocess host."
        )
    return dataclasses.replace(
        picture,
        dtype="uint8",
        layout="nhwc",
        color="gray" if picture.color == "gray" else "bgr",
        scale=1.0,
        mean=(0.0,),
        std=(1.0,),
    )


def embedded_file(file: ModelFile, spec: ModelSpec) -> tuple[Path, ModelSpec]:
    """The variant's path and the spec of its input.

    Raises:
        SpecError: if preprocessing cannot move into this graph.
    """
    raw = raw_input(spec)
    picture = next(item for item in spec.inputs if item.kind == "image")
    fed = dataclasses.replace(
        spec, inputs=tuple(raw if item is picture else item for item in spec.inputs)
    )
    if file.external:
        raise SpecError(
            "Preprocessing cannot move into a model that keeps tensors in other files: give "
            "--preprocess host."
        )
    name = f"{cache.key_of(file.sha256, picture, _REVISION)}.onnx"
    found = cache.stored("graphs", name)
    if found is None:
        from edgeinfer.preprocess import embed

        data = embed(read_graph(file.path), picture).model.SerializeToString(deterministic=True)
        found = cache.store("graphs", name, data) or _without_cache(data)
    return found, fed


def _without_cache(data: bytes) -> Path:
    """A file for this process only, where the cache refuses; the system's temp folder ages it."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="edgeinfer-", suffix=".onnx", delete=False) as file:
        file.write(data)
    return Path(file.name)
