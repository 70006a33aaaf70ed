"""Darknet: a network in text (`.cfg`) and its weights (`.weights`)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer.spec import METADATA_KEY
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.darknet.convert import Converted, convert
from edgeinfer_export.sources.darknet.network import Weights, read_network
from edgeinfer_export.sources.legacy.files import beside, finish, no_partner, start_of
from edgeinfer_export.sources.legacy.witness import opencv

TITLE = "Darknet"

_NETWORK_ENDINGS = (".cfg",)
_WEIGHT_ENDINGS = (".weights",)
_FIRST_SECTION = re.compile(r"^\s*\[(net|network)\]\s*$", re.MULTILINE)
# Darknet counts its weights in pictures seen; its own tools write version 0.1 or 0.2.
_VERSIONS = (b"\0\0\0\0\1\0\0\0", b"\0\0\0\0\2\0\0\0")


def recognizes(path: Path) -> bool:
    """Whether it is a network description, or a file of weights."""
    start = start_of(path, 1 << 16)
    if not start:
        return False
    if path.name.lower().endswith(_WEIGHT_ENDINGS):
        return start[:8] in _VERSIONS
    return b"\0" not in start and bool(_FIRST_SECTION.search(start.decode("utf-8", "replace")))


def open_source(request: Request) -> SourceModel:
    """Read a network and its weights.

    Raises:
        ModelFileError: if one of the two is missing or damaged, they do not belong together, or a
            layer is not supported.
    """
    network, weights = _files(request)
    settings, sections = read_network(network)
    converted = convert(settings, sections, Weights(weights), network.name, request.input_shapes)
    if converted.detector:
        _describe(converted)
    reference, notes = opencv(
        request,
        converted.model,
        "darknet",
        (network, weights),
        {converted.output: converted.layer},
        grids=converted.grids,
    )
    return finish(
        request,
        converted.model,
        "darknet",
        (network, weights),
        reference=reference,
        notes=(*converted.notes, *notes),
    )


def _describe(converted: Converted) -> None:
    """Write down what every Darknet detector takes and gives."""
    height, width = converted.input_hw
    spec = {
        "schema": "edgeinfer.spec/1",
        "task": "detect",
        "head": "yolov5",
        "inputs": [
            {
                "name": converted.input,
                "kind": "image",
                "size_hw": [height, width],
                # `darknet detector test` stretches unless the file says letter_box=1.
                "resize": "letterbox" if converted.letterbox else "stretch",
                "pad_value": 127,
                "color": "rgb",
                "layout": "nchw",
                "dtype": "float32",
                "scale": 1 / 255,
            }
        ],
    }
    converted.model.metadata_props.add(key=METADATA_KEY, value=json.dumps(spec))


def _files(request: Request) -> tuple[Path, Path]:
    """The network description and the weights, whichever of them was named."""
    path, other = request.path, request.weights
    if not path.exists():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    if b"\0" in start_of(path) or path.name.lower().endswith(_WEIGHT_ENDINGS):
        network = other or beside(path, _NETWORK_ENDINGS)
        if network is None:
            raise no_partner(path, "weights", "the network description", _NETWORK_ENDINGS)
        return network, path
    weights = other or beside(path, _WEIGHT_ENDINGS)
    if weights is None:
        raise no_partner(path, "a network description", "its file of weights", _WEIGHT_ENDINGS)
    return path, weights
