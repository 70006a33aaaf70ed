"""What a quantized file says about the pictures that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer.spec import SCHEMA
from edgeinfer_export.sources.tflite.model import TFLiteModel

_LOWEST = {"int8": -128, "uint8": 0}


def picture_fields(model: TFLiteModel) -> Mapping[str, Any] | None:
    """A spec for a picture input of 8 bits, None where there is none.

    Such an input is fed with pixels as they are (as signed bytes: less 128), so its scale and zero
    point say what was subtracted and divided in training.
    """
    if len(model.inputs) != 1:
        return None
    tensor = model.tensors[model.inputs[0]]
    found = tensor.quantization
    if found is None or tensor.dtype not in _LOWEST or len(tensor.shape) != 4:
        return None
    _, height, width, channels = tensor.shape
    if channels not in (1, 3) or min(height, width) < 8:
        return None
    scale = float(found.scale[0])
    low = (_LOWEST[tensor.dtype] - int(found.zero_point[0])) * scale
    picture = {
        "name": tensor.name,
        "kind": "image",
        "size_hw": [height, width],
        "resize": "stretch",
        "color": "gray" if channels == 1 else "rgb",
        "layout": "nhwc",
        "dtype": "float32",
        "scale": scale,
        "mean": [0.0 - low] * 3,
        "std": [1.0] * 3,
    }
    return {"schema": SCHEMA, "inputs": [picture]}
