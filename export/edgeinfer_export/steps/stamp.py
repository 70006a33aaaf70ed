"""Write into a model what it means and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeinfer.spec import METADATA_KEY, PROVENANCE_KEY, ModelSpec

if TYPE_CHECKING:
    import onnx

PRODUCER = "edgeinfer"
# Marks of ONNX Runtime's quantizer that mean nothing to anybody else.
_MARKS = ("onnx.infer", "onnx.quant.pre_process")


def stamp(
    model: onnx.ModelProto, spec: ModelSpec, provenance: Mapping[str, Any] | None = None
) -> None:
    """Put spec and provenance into the metadata; licence, author and the like stay as they are.

    Neither time nor path goes in: the same command on the same machine gives the same bytes.
    """
    kept = {
        entry.key: entry.value
        for entry in model.metadata_props
        if entry.key not in (METADATA_KEY, PROVENANCE_KEY, *_MARKS)
    }
    del model.metadata_props[:]
    kept[METADATA_KEY] = _packed(spec.to_dict())
    if provenance is not None:
        kept[PROVENANCE_KEY] = _packed(provenance)
    for key, value in kept.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name = PRODUCER
    model.producer_version = ""


def _packed(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
