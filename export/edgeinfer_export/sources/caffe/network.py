"""Read Caffe's two files into a list of layers with their weights.

Field numbers and names: caffe.proto of https://github.com/BVLC/caffe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.files import read_bytes, read_text
from edgeinfer_export.sources.legacy.text import Fields, parse
from edgeinfer_export.sources.legacy.wire import Message

# NetParameter: layers of the second form and of the first; LayerParameter and V1LayerParameter:
# name, blobs.
_LAYERS, _V1_LAYERS = 100, 2
_V2_NAME, _V2_BLOBS = 1, 7
_V1_NAME, _V1_BLOBS = 4, 6
# BlobProto.
_BLOB_DATA, _BLOB_SHAPE, _BLOB_DOUBLES, _BLOB_OLD_SHAPE = 5, 7, 8, (1, 2, 3, 4)
# The enumeration of the first form is in capitals; where that is not the name without its lines.
_V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "ELTWISE": "Eltwise",
    "HDF5_DATA": "HDF5Data",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MVN": "MVN",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}


@dataclass(eq=False)
class Layer:
    """A layer of the network.

    Attributes:
        name: unique in most networks, not in all.
        kind: its type, by the names of the second form.
        bottoms: the blobs that it reads.
        tops: the blobs that it writes; a name may be written more than once.
        fields: all that the description says of it.
        number: its place in the description, from 1.
        blobs: its weights.
    """

    name: str
    kind: str
    bottoms: Sequence[str]
    tops: Sequence[str]
    fields: Fields
    number: int
    blobs: list[Array] = field(default_factory=list)

    @property
    def place(self) -> str:
        """What it is called in error messages."""
        return f"layer '{self.name}' (number {self.number}, type {self.kind})"

    def part(self, name: str) -> Fields:
        """One group of its parameters: ``pooling`` for ``pooling_param``."""
        return self.fields.part(f"{name}_param")


def read_network(path: Path) -> list[Layer]:
    """The layers of a network description that count at test time.

    Inputs that are declared outside of layers come first, as layers of type `Input`.

    Raises:
        ModelFileError: if it is missing, cut off, or no such description.
    """
    net = parse(read_text(path), path.name)
    groups = net.parts("layer") or net.parts("layers")
    if not groups:
        raise ModelFileError(
            f"{path.name} describes no layers: it is no Caffe network. A solver's prototxt names "
            f"the network in its field 'net'."
        )
    if any("layer" in group for group in groups):
        raise ModelFileError(
            f"{path.name} is written in Caffe's oldest form (a layer inside of layers): upgrade it "
            f"with Caffe's upgrade_net_proto_text."
        )
    layers = _declared_inputs(net)
    for number, group in enumerate(groups, 1):
        if _counts_at_test(group):
            layers.append(
                Layer(
                    name=group.word("name") or f"layer{number}",
                    kind=_kind(group.word("type")),
                    bottoms=group.words("bottom"),
                    tops=group.words("top"),
                    fields=group,
                    number=number,
                )
            )
    return layers


def _declared_inputs(net: Fields) -> list[Layer]:
    """``input: "data"`` with ``input_dim`` or ``input_shape``."""
    names, old = net.words("input"), net.words("input_dim")
    shapes = net.parts("input_shape")
    found = []
    for number, name in enumerate(names):
        fields = Fields(net.where)
        param, shape = Fields(net.where), Fields(net.where)
        dims = old[4 * number : 4 * number + 4]
        if number < len(shapes):
            dims = shapes[number].words("dim")
        for dim in dims:
            shape.add("dim", dim)
        param.add("shape", shape)
        fields.add("input_param", param)
        found.append(Layer(name, "Input", [], [name], fields, 0))
    return found


def _counts_at_test(group: Fields) -> bool:
    if group.word("phase", "TEST") not in ("TEST", "1"):
        return False
    included, excluded = group.parts("include"), group.parts("exclude")
    if included:
        return any(rule.word("phase", "TEST") in ("TEST", "1") for rule in included)
    return not any(rule.word("phase") in ("TEST", "1") for rule in excluded)


def _kind(word: str) -> str:
    if word.upper() != word or not word:
        return word
    return _V1_TYPES.get(word, word if len(word) < 4 else word.title().replace("_", ""))


def read_weights(path: Path, layers: Sequence[Layer]) -> None:
    """Hand each layer its weights, by name.

    Raises:
        ModelFileError: if the file is missing, damaged, or of another network altogether.
    """
    net = Message(read_bytes(path), path.name)
    found: dict[str, list[Array]] = {}
    for number, name_field, blobs_field in (
        (_V1_LAYERS, _V1_NAME, _V1_BLOBS),
        (_LAYERS, _V2_NAME, _V2_BLOBS),
    ):
        for item in net.messages(number):
            name = item.string(name_field)
            where = f"{path.name}, layer '{name}'"
            blobs = [_blob(blob, where) for blob in item.messages(blobs_field, where)]
            if blobs:
                found[name] = blobs
    if not found:
        raise ModelFileError(f"{path.name} holds no weights: it is no trained Caffe model.")
    if not any(layer.name in found for layer in layers):
        raise ModelFileError(
            f"{path.name} has weights for {', '.join(list(found)[:3])} and so on; no layer of the "
            f"network description has such a name: they do not belong together."
        )
    for layer in layers:
        layer.blobs = found.get(layer.name, [])


def _blob(blob: Message, where: str) -> Array:
    data = blob.floats(_BLOB_DATA)
    if not data.size and _BLOB_DOUBLES in blob:
        data = blob.floats(_BLOB_DOUBLES, double=True).astype(np.float32)
    shape = blob.message(_BLOB_SHAPE).ints(1) if _BLOB_SHAPE in blob else []
    if not shape and any(number in blob for number in _BLOB_OLD_SHAPE):
        shape = [blob.integer(number, 1) for number in _BLOB_OLD_SHAPE]
    shape = shape or [data.size]
    if any(size < 0 for size in shape) or math.prod(shape) != data.size:
        raise ModelFileError(
            f"{where}: {data.size} weights do not fill the shape {shape}: the file is damaged."
        )
    return data.reshape(shape)
