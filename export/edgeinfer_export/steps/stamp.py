"""Write into a model what it means and where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeinfer.spec import METADATA_KEY, ModelSpec

if TYPE_CHECKING:
    import onnx

PRODUCER = "edgeinfer"
# Marks of ONNX Runtime's quantizer that mean nothing to anybody else.
_MARKS = ("onnx.infer", "onnx.quant.pre_process")


def stamp(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Put the spec into the metadata; licence, author and the like stay as they are.

    Neither time nor path nor version goes in: the same model gives the same bytes.
    """
    kept = {
        entry.key: entry.value
        for entry in model.metadata_props
        if entry.key != METADATA_KEY and entry.key not in _MARKS
    }
    del model.metadata_props[:]
    kept[METADATA_KEY] = json.dumps(spec.to_dict(), ensure_ascii=False, separators=(",", ":"))
    for key, value in kept.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name = PRODUCER
    model.producer_version = ""
