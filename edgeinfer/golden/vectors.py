"""The file of golden vectors: an .npz of inputs, pictures and outputs, with a JSON index.

The member ``golden.json`` (schema ``edgeinfer.golden/1``) says which arrays belong together, what
they must come near to, and which model file they are for, by its hash. Everything else is an
array that `numpy.load` reads.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array, Arrays
from edgeinfer.records import dataclass

SCHEMA = "edgeinfer.golden/1"
SUFFIX = ".golden.npz"
_INDEX = "golden.json"
# A few megabytes travel with every model; more would be copied to every box for nothing.
MAX_BYTES = 8 << 20
# What is read from a file that anybody may have made.
_MOST_READ = 256 << 20
_MOST_MEMBERS = 1024
# A long output is compared at so many places, evenly spread.
MAX_VALUES = 1 << 17
_LEVEL = 1
# What zipfile, json and numpy raise about files that are cut off or made to hurt.
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, MemoryError),
    *(OverflowError, RecursionError, NotImplementedError, zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the golden one, as shares of its range.

    Attributes:
        max: of any value. mean: of all on average.
    """

    max: float
    mean: float

    def to_dict(self) -> dict[str, float]:
        return {"max": self.max, "mean": self.mean}


@dataclass(frozen=True, eq=False)
class Sample:
    """One input and the answer to it.

    Attributes:
        inputs: as fed, by name.
        outputs: by name: shape, and every `stride`-th value in the order of memory.
        shapes: of the whole outputs. strides: see `outputs`.
        picture: `(H, W, 3)` uint8 BGR that `inputs` were prepared from, None for arrays.
        result: the typed value as JSON.
    """

    inputs: Arrays
    outputs: Arrays
    shapes: Mapping[str, tuple[int, ...]]
    strides: Mapping[str, int]
    picture: Array | None
    result: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Golden:
    """What a model answered where it was made.

    Attributes:
        model_sha256: of the file that they belong to.
        precision: that it computes in.
        reference: implementation and version that computed the outputs.
        tolerances: by output name.
        kind: what the inputs were made from: ``pictures``, ``arrays``, ``synthetic``, ``random``.
        samples: see `Sample`.
    """

    model_sha256: str
    precision: str
    reference: str
    tolerances: Mapping[str, Tolerance]
    kind: str
    samples: Sequence[Sample] = field(default=())


def golden_path(model: Path) -> Path:
    """Where the vectors of a model file lie: `model.onnx` has `model.golden.npz`."""
    return model.with_name(f"{model.stem}{SUFFIX}")


def thinned(array: Array) -> tuple[Array, int]:
    """At most `MAX_VALUES` of an output's values, and the stride between them.

    The stride is odd, so that it does not hit the same column of every row.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.size <= MAX_VALUES:
        return flat, 1
    stride = -(-flat.size // MAX_VALUES)
    stride += 1 - stride % 2
    return flat[::stride], stride


def within_bounds(samples: Sequence[Sample]) -> list[Sample]:
    """The first samples that fit into `MAX_BYTES` when compressed."""
    kept: list[Sample] = []
    used = 0
    for sample in samples:
        used += len(_zipped(_members(0, sample)[0]))
        if used > MAX_BYTES:
            break
        kept.append(sample)
    return kept


def pack(golden: Golden) -> bytes:
    """The file's bytes: the same for the same content, on every machine with the same zlib."""
    members: dict[str, Array] = {}
    told = []
    for index, sample in enumerate(golden.samples):
        arrays, entry = _members(index, sample)
        members.update(arrays)
        told.append(entry)
    document = {
        "schema": SCHEMA,
        "model_sha256": golden.model_sha256,
        "precision": golden.precision,
        "reference": golden.reference,
        "kind": golden.kind,
        "tolerances": {name: item.to_dict() for name, item in golden.tolerances.items()},
        "samples": told,
    }
    return _zipped(members, json.dumps(document, indent=1).encode())


def _members(index: int, sample: Sample) -> tuple[dict[str, Array], dict[str, Any]]:
    """A sample's arrays by member name, and its entry in the index."""
    arrays: dict[str, Array] = {}
    entry: dict[str, Any] = {"inputs": {}, "outputs": {}, "picture": None}
    for number, (name, array) in enumerate(sample.inputs.items()):
        entry["inputs"][name] = f"{index}_input{number}"
        arrays[f"{index}_input{number}"] = array
    for number, (name, array) in enumerate(sample.outputs.items()):
        member = f"{index}_output{number}"
        shape, stride = list(sample.shapes[name]), sample.strides[name]
        entry["outputs"][name] = {"values": member, "shape": shape, "stride": stride}
        arrays[member] = array
    if sample.picture is not None:
        entry["picture"] = f"{index}_picture"
        arrays[entry["picture"]] = sample.picture
    entry["result"] = dict(sample.result)
    return arrays, entry


def _zipped(members: Mapping[str, Array], index: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as file:
        if index is not None:
            # A ZipInfo without a date is of 1980; every other way writes the time of day.
            file.writestr(zipfile.ZipInfo(_INDEX), index, zipfile.ZIP_DEFLATED, _LEVEL)
        for name, array in members.items():
            held = io.BytesIO()
            np.lib.format.write_array(held, np.asarray(array, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")
            file.writestr(info, held.getvalue(), zipfile.ZIP_DEFLATED, _LEVEL)
    return buffer.getvalue()


def read_golden(path: Path) -> Golden:
    """Read golden vectors.

    Raises:
        ModelFileError: if the file is missing, damaged, too big, or of another version.
    """
    remake = "make them again: edgeinfer export writes them beside the model"
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
            if len(infos) > _MOST_MEMBERS or sum(i.file_size for i in infos) > _MOST_READ:
                raise ModelFileError(
                    f"The golden vectors {path} unpack to more than {_MOST_READ >> 20} MiB, which "
                    f"no export writes; {remake}."
                )
            document = json.loads(file.read(_INDEX))
            if document.get("schema") != SCHEMA:
                raise ModelFileError(
                    f"The golden vectors {path} have the schema {document.get('schema')!r}; this "
                    f"version reads {SCHEMA}; {remake}."
                )
            return _golden(document, _Arrays(file))
    except FileNotFoundError as error:
        raise ModelFileError(
            f"There are no golden vectors at {path}: 'edgeinfer export MODEL -o OUT.onnx' writes "
            f"them beside OUT.onnx; copy them to the box together with the model."
        ) from error
    except _DAMAGE as error:
        raise ModelFileError(
            f"The golden vectors {path} are damaged ({type(error).__name__}: {error}); {remake}."
        ) from error


class _Arrays:
    """Reads members of the open file."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file

    def __call__(self, name: str) -> Array:
        data = io.BytesIO(self._file.read(f"{name}.npy"))
        array: Array = np.lib.format.read_array(data, allow_pickle=False)
        return array


def _golden(document: Mapping[str, Any], arrays: _Arrays) -> Golden:
    samples = []
    for entry in document["samples"]:
        outputs = entry["outputs"]
        picture = entry["picture"]
        samples.append(
            Sample(
                inputs={name: arrays(member) for name, member in entry["inputs"].items()},
                outputs={name: arrays(item["values"]) for name, item in outputs.items()},
                shapes={name: tuple(map(int, item["shape"])) for name, item in outputs.items()},
                strides={name: max(1, int(item["stride"])) for name, item in outputs.items()},
                picture=None if picture is None else arrays(picture),
                result=dict(entry["result"]),
            )
        )
    if not samples:
        raise ValueError("it holds no samples")
    return Golden(
        model_sha256=str(document["model_sha256"]),
        precision=str(document["precision"]),
        reference=str(document["reference"]),
        tolerances={
            name: Tolerance(float(item["max"]), float(item["mean"]))
            for name, item in document["tolerances"].items()
        },
        kind=str(document["kind"]),
        samples=tuple(samples),
    )
