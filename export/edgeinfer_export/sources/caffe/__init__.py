"""Caffe: a network in text (`.prototxt`) and its weights (`.caffemodel`)."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.caffe.convert import convert
from edgeinfer_export.sources.caffe.network import read_network, read_weights
from edgeinfer_export.sources.legacy.files import beside, finish, no_partner, start_of
from edgeinfer_export.sources.legacy.witness import opencv

TITLE = "Caffe"

_NETWORK_ENDINGS = (".prototxt", ".pt.txt", ".prototxt.txt")
_WEIGHT_ENDINGS = (".caffemodel",)
_LAYER = re.compile(r"\blayers?\s*\{")
# Tags of NetParameter: .name, with which nearly every file begins; .layer; what may stand between.
_LAYER_TAG, _NAME_TAG = b"\xa2\x06", b"\x0a"
_AFTER_NAME = (_LAYER_TAG, b"\x12", b"\x1a", b"\x20", b"\x42")


def recognizes(path: Path) -> bool:
    """Whether it is a network description, or a file of weights."""
    start = start_of(path)
    if not start:
        return False
    if path.name.lower().endswith(_NETWORK_ENDINGS + _WEIGHT_ENDINGS):
        return True
    if b"\0" not in start:
        text = start.decode("utf-8", "replace")
        return bool(_LAYER.search(text)) and bool(re.search(r"\btype\s*:", text))
    if start.startswith(_NAME_TAG) and len(start) > 2:
        # A name in plain text, and then what no other framework's file goes on with.
        end = 2 + start[1]
        return start[2:end].isascii() and start[end:].startswith(_AFTER_NAME)
    return start.startswith(_LAYER_TAG)


def open_source(request: Request) -> SourceModel:
    """Read a network and its weights.

    Raises:
        ModelFileError: if one of the two is missing or damaged, they do not belong together, or a
            layer is not supported.
    """
    network, weights = _files(request)
    layers = read_network(network)
    read_weights(weights, layers)
    converted = convert(layers, network.name, weights.name, request.input_shapes)
    reference, notes = opencv(
        request, converted.model, "caffe", (network, weights), converted.comparable
    )
    return finish(
        request,
        converted.model,
        "caffe",
        (network, weights),
        reference=reference,
        notes=(*converted.notes, *notes),
    )


def _files(request: Request) -> tuple[Path, Path]:
    """The network description and the weights, whichever of them was named."""
    path, other = request.path, request.weights
    if not path.exists():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    if b"\0" in start_of(path) or path.name.lower().endswith(_WEIGHT_ENDINGS):
        network = other or beside(path, _NETWORK_ENDINGS)
        if network is None:
            raise no_partner(path, "weights", "the network description", _NETWORK_ENDINGS[:1])
        return network, path
    weights = other or beside(path, _WEIGHT_ENDINGS)
    if weights is None:
        raise no_partner(path, "a network description", "its file of weights", _WEIGHT_ENDINGS)
    return path, weights
