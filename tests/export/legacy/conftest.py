"""Checkpoints of legacy frameworks, written here bit by bit, and a way to run what became of them.

Nothing of the readers is used for writing, so that a mistake in a format cannot cancel out.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from edgeinfer import cache
from edgeinfer.errors import EdgeInferError, MissingPackageError
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.sources.legacy import files, witness

Arrays = Mapping[str, np.ndarray[Any, Any]]


@pytest.fixture(autouse=True)
def _no_rooms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No network: no independent reader can be had, unless a test says that it needs one."""
    if "rooms" not in request.fixturenames:

        def unreachable(name: str, say: Callable[[str], None]) -> None:
            raise MissingPackageError(f"The environment '{name}' cannot be built: no network.")

        monkeypatch.setattr(witness, "open_room", unreachable)
    yield


@pytest.fixture(autouse=True)
def _checked_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small graphs: each is checked in this process, unless a test wants a child."""
    if "vetted" in request.fixturenames:
        return

    def keep(model: onnx.ModelProto, folder: Path, source: Path) -> Path:
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(folder / "source.onnx"))
        return folder / "source.onnx"

    monkeypatch.setattr(files, "keep", keep)


@pytest.fixture
def rooms(_cache_of_its_own: None) -> Iterator[None]:
    """The frameworks themselves, in a cache that stays: they are too big to come with every run."""
    folder = os.environ.get("EDGEINFER_TEST_ROOMS")
    if not folder:
        pytest.skip("tool rooms are not asked for (EDGEINFER_TEST_ROOMS=FOLDER that keeps them)")
    before = cache.root()
    cache.set_root(Path(folder))
    yield
    cache.set_root(before)


@pytest.fixture
def vetted() -> None:
    """What is converted is tried in a child process first, as always."""


@dataclass(frozen=True)
class Opener:
    """Reads a checkpoint and runs what became of it."""

    folder: Path

    def source(self, path: Path, **request: Any) -> SourceModel:
        """The converted model."""
        self.folder.mkdir(exist_ok=True)
        return open_source_model(Request(path, self.folder, **request))

    def refuses(
        self, path: Path, *, error: type[EdgeInferError] = EdgeInferError, **request: Any
    ) -> bool:
        """Whether a file is refused; any other error goes through."""
        try:
            self.source(path, **request)
        except error:
            return True
        return False

    def run(
        self, path: Path, inputs: Arrays | np.ndarray[Any, Any], **request: Any
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs of the converted model, whose shapes are those that it promises."""
        source = self.source(path, **request)
        if isinstance(inputs, np.ndarray):
            (entry,) = source.model.graph.input
            inputs = {entry.name: inputs}
        found = Session(source.path).run(inputs)
        for value in source.model.graph.output:
            dims = value.type.tensor_type.shape.dim
            assert len(dims) == found[value.name].ndim, value.name
            for dim, size in zip(dims, found[value.name].shape, strict=True):
                assert not dim.HasField("dim_value") or dim.dim_value == size, value.name
        return found

    def one(self, path: Path, data: np.ndarray[Any, Any], **request: Any) -> np.ndarray[Any, Any]:
        """The only output for the only input."""
        (value,) = self.run(path, data, **request).values()
        return value


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "request")


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def tagged(number: int, value: bytes | str | int | float) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def caffe_blob(array: np.ndarray[Any, Any], old: bool = False) -> bytes:
    if old:
        dims = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(tagged(number, size) for number, size in enumerate(dims, 1))
    else:
        shape = tagged(7, tagged(1, b"".join(varint(size) for size in array.shape)))
    return shape + tagged(5, array.astype("<f4").tobytes())


def caffe_weights(weights: Mapping[str, Sequence[np.ndarray[Any, Any]]], v1: bool = False) -> bytes:
    """A caffemodel in the second form, or in the first."""
    name, blobs, layers = (4, 6, 2) if v1 else (1, 7, 100)
    data = tagged(1, "net")
    for layer, arrays in weights.items():
        body = tagged(name, layer) if v1 else tagged(name, layer) + tagged(2, "Any")
        body += b"".join(tagged(blobs, caffe_blob(array, old=v1)) for array in arrays)
        data += tagged(layers, body)
    return data


CaffeMaker = Callable[..., Path]


@pytest.fixture
def caffe(tmp_path: Path) -> CaffeMaker:
    """Write a network: its text (an input `data` is put before it) and weights by layer."""

    def make(
        text: str,
        shape: Sequence[int],
        weights: Mapping[str, Sequence[np.ndarray[Any, Any]]] | None = None,
        v1: bool = False,
    ) -> Path:
        dims = " ".join(f"input_dim: {size}" for size in shape)
        if len(shape) != 4:
            dims = f"input_shape {{ {' '.join(f'dim: {size}' for size in shape)} }}"
        if weights is None:
            # A file of weights has some, even where the layer under test has none.
            text = 'layer { name: "ones" type: "Scale" bottom: "data" top: "data" }\n' + text
            weights = {"ones": [np.ones(shape[1])]}
        path = tmp_path / "net.prototxt"
        path.write_text(f'name: "net"\ninput: "data"\n{dims}\n{text}\n')
        (tmp_path / "net.caffemodel").write_bytes(caffe_weights(weights, v1))
        return path

    return make


DarknetMaker = Callable[..., Path]


@pytest.fixture
def darknet(tmp_path: Path) -> DarknetMaker:
    """Write a network: its sections after [net], and its weights in their order."""

    def make(
        text: str,
        shape: Sequence[int],
        weights: Sequence[np.ndarray[Any, Any]] = (),
        version: tuple[int, int] = (0, 2),
    ) -> Path:
        path = tmp_path / "net.cfg"
        sizes = f"channels={shape[0]}\nheight={shape[1]}\nwidth={shape[2]}"
        path.write_text(f"[net]\n# a comment\n{sizes}\n\n{text}\n")
        seen = struct.pack("<q" if version >= (0, 2) else "<i", 32013312)
        data = struct.pack("<iii", *version, 5) + seen
        data += b"".join(array.astype("<f4").tobytes() for array in weights)
        (tmp_path / "net.weights").write_bytes(data)
        return path

    return make


def mxnet_array(array: np.ndarray[Any, Any], form: int) -> bytes:
    """An array in MXNet's own form 0 (before 1.0), 1 or 2."""
    flags = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int64": 6}
    sizes = "I" if form == 0 else "q"
    data = {0: b"", 1: struct.pack("<I", 0xF993FAC8), 2: struct.pack("<Ii", 0xF993FAC9, 0)}[form]
    data += struct.pack(f"<I{array.ndim}{sizes}", array.ndim, *array.shape)
    data += struct.pack("<iii", 1, 0, flags[array.dtype.name])
    return data + array.tobytes()


def mxnet_params(arrays: Arrays, form: int = 2) -> bytes:
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    data += b"".join(mxnet_array(array, form) for array in arrays.values())
    data += struct.pack("<Q", len(arrays))
    for name in arrays:
        data += struct.pack("<Q", len(name)) + name.encode()
    return data


MxnetMaker = Callable[..., Path]


@pytest.fixture
def mxnet(tmp_path: Path) -> MxnetMaker:
    """Write a symbol from (operator, name, settings, names of inputs), and its parameters."""

    def make(
        nodes: Sequence[tuple[str, str, Mapping[str, Any], Sequence[str]]],
        params: Arrays = MappingProxyType({}),
        heads: Sequence[tuple[str, int]] = (),
        form: int = 2,
        settings: str = "attrs",
    ) -> Path:
        entries: list[dict[str, Any]] = []
        places: dict[str, int] = {}

        def place(name: str) -> list[int]:
            plain, _, index = name.partition("/")
            if plain not in places:
                places[plain] = len(entries)
                entries.append({"op": "null", "name": plain, "inputs": []})
            return [places[plain], int(index or 0), 0]

        for op, name, given, inputs in nodes:
            read = [place(item) for item in inputs]
            places[name] = len(entries)
            attrs = {key: str(value) for key, value in given.items()}
            entries.append({"op": op, "name": name, settings: attrs, "inputs": read})
        ends = heads or [(nodes[-1][1], 0)]
        symbol = {
            "nodes": entries,
            "arg_nodes": [],
            "heads": [[*place(n)[:1], i, 0] for n, i in ends],
        }
        path = tmp_path / "net-symbol.json"
        path.write_text(json.dumps(symbol))
        data = mxnet_params({f"arg:{name}": value for name, value in params.items()}, form)
        (tmp_path / "net-0003.params").write_bytes(data)
        return path

    return make


def paddle_tensor(array: np.ndarray[Any, Any]) -> bytes:
    codes = {"float32": 5, "int64": 3, "int32": 2}
    description = tagged(1, codes[array.dtype.name])
    description += b"".join(tagged(2, size) for size in array.shape)
    data = struct.pack("<IQ", 0, 0) + struct.pack("<Ii", 0, len(description)) + description
    return data + array.tobytes()


def paddle_attribute(name: str, value: Any) -> bytes:
    """A setting, with the number of its type."""
    kind, field = 5, 8
    data = tagged(1, name)
    if isinstance(value, bool):
        return data + tagged(2, 6) + tagged(10, value)
    if isinstance(value, int):
        return data + tagged(2, 0) + tagged(3, value)
    if isinstance(value, float):
        return data + tagged(2, 1) + tagged(4, value)
    if isinstance(value, str):
        return data + tagged(2, 2) + tagged(5, value)
    if value and isinstance(value[0], int):
        kind, field = 3, 6
    elif value and isinstance(value[0], float):
        kind, field = 4, 7
    return data + tagged(2, kind) + b"".join(tagged(field, item) for item in value)


def paddle_variable(name: str, shape: Sequence[int], persistable: bool, kind: int = 7) -> bytes:
    tensor = tagged(1, 5) + b"".join(tagged(2, size) for size in shape)
    described = tagged(1, kind) + tagged(3, tagged(1, tensor) + tagged(2, 0))
    return tagged(1, name) + tagged(2, described) + tagged(3, persistable)


def paddle_operator(
    kind: str,
    inputs: Mapping[str, Sequence[str]],
    outputs: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
) -> bytes:
    data = b""
    for number, names in ((1, inputs), (2, outputs)):
        for parameter, arguments in names.items():
            body = tagged(1, parameter) + b"".join(tagged(2, name) for name in arguments)
            data += tagged(number, body)
    data += tagged(3, kind)
    return data + b"".join(tagged(4, paddle_attribute(*item)) for item in settings.items())


PaddleMaker = Callable[..., Path]


@pytest.fixture
def paddle(tmp_path: Path) -> PaddleMaker:
    """Write a program from (operator, inputs, outputs, settings); it reads `x` and gives `y`."""

    def make(
        operators: Sequence[tuple[str, Any, Any, Mapping[str, Any]]],
        shape: Sequence[int],
        params: Arrays = MappingProxyType({}),
        separate: bool = False,
        names: tuple[str, str] = ("__model__", "__params__"),
        outputs: Sequence[str] = ("y",),
    ) -> Path:
        folder = tmp_path / "paddle"
        folder.mkdir(exist_ok=True)
        variables = [paddle_variable("x", shape, False)]
        variables += [paddle_variable("feed", (), True, 9), paddle_variable("fetch", (), True, 10)]
        variables += [paddle_variable(name, a.shape, True) for name, a in params.items()]
        made = {name for item in operators for names in item[2].values() for name in names}
        variables += [paddle_variable(name, (-1,), False) for name in sorted(made)]
        steps = [paddle_operator("feed", {"X": ["feed"]}, {"Out": ["x"]}, {"col": 0})]
        steps += [paddle_operator(*item) for item in operators]
        for number, name in enumerate(outputs):
            steps.append(
                paddle_operator("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": number})
            )
        block = tagged(1, 0) + tagged(2, -1)
        block += b"".join(tagged(3, item) for item in variables)
        block += b"".join(tagged(4, item) for item in steps)
        (folder / names[0]).write_bytes(tagged(1, block))
        ordered = sorted(params)
        if separate:
            for name in ordered:
                (folder / name).write_bytes(paddle_tensor(params[name]))
        elif params:
            data = b"".join(paddle_tensor(params[name]) for name in ordered)
            (folder / names[1]).write_bytes(data)
        return folder

    return make


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def _windows(
    x: np.ndarray[Any, Any], kernel: tuple[int, int], stride: int, pad: int, out: tuple[int, int]
) -> Iterator[tuple[int, int, slice, slice]]:
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = i * stride - pad, j * stride - pad
            rows = slice(max(top, 0), min(top + kernel[0], x.shape[2]))
            columns = slice(max(left, 0), min(left + kernel[1], x.shape[3]))
            yield i, j, rows, columns


def slow_pool(
    x: np.ndarray[Any, Any],
    kernel: int,
    stride: int,
    pad: int,
    out: tuple[int, int],
    average: str = "",
) -> np.ndarray[Any, Any]:
    """Window by window; an average counts the ``valid`` values, or the ``padded`` picture's."""
    y = np.empty((*x.shape[:2], *out))
    for i, j, rows, columns in _windows(x, (kernel, kernel), stride, pad, out):
        part = x[:, :, rows, columns]
        if not average:
            y[:, :, i, j] = part.max(axis=(2, 3))
            continue
        count = part.shape[2] * part.shape[3]
        if average == "padded":
            ends = [
                min(n * stride - pad + kernel, size + pad) - (n * stride - pad)
                for n, size in ((i, x.shape[2]), (j, x.shape[3]))
            ]
            count = ends[0] * ends[1]
        y[:, :, i, j] = part.sum(axis=(2, 3)) / count
    return y


def slow_convolution(
    x: np.ndarray[Any, Any],
    w: np.ndarray[Any, Any],
    b: np.ndarray[Any, Any],
    stride: int = 1,
    pad: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> np.ndarray[Any, Any]:
    """Output by output, tap by tap."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    reach = [(w.shape[axis] - 1) * dilation + 1 for axis in (2, 3)]
    out = [(padded.shape[axis] - reach[axis - 2]) // stride + 1 for axis in (2, 3)]
    y = np.zeros((len(x), len(w), *out)) + b[None, :, None, None]
    share = len(w) // groups
    for o in range(len(w)):
        first = o // share * w.shape[1]
        for c in range(w.shape[1]):
            for i in range(w.shape[2]):
                for j in range(w.shape[3]):
                    rows = slice(i * dilation, i * dilation + (out[0] - 1) * stride + 1, stride)
                    columns = slice(j * dilation, j * dilation + (out[1] - 1) * stride + 1, stride)
                    y[:, o] += w[o, c, i, j] * padded[:, first + c, rows, columns]
    return y


def slow_deconvolution(
    x: np.ndarray[Any, Any], w: np.ndarray[Any, Any], stride: int, pad: int
) -> np.ndarray[Any, Any]:
    """Each input value laid out with its kernel."""
    height, width = ((n - 1) * stride + k for n, k in zip(x.shape[2:], w.shape[2:], strict=True))
    y = np.zeros((len(x), w.shape[1], height, width))
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            laid = np.einsum("nc,cohw->nohw", x[:, :, i, j], w)
            rows, columns = i * stride, j * stride
            y[:, :, rows : rows + w.shape[2], columns : columns + w.shape[3]] += laid
    return y[:, :, pad : height - pad, pad : width - pad]


def _sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def _softmax(x: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


@pytest.fixture(scope="session")
def slow() -> SimpleNamespace:
    """What layers compute, the slow way, independent of any converter."""
    return SimpleNamespace(
        pool=slow_pool,
        convolution=slow_convolution,
        deconvolution=slow_deconvolution,
        sigmoid=_sigmoid,
        softmax=_softmax,
    )


@pytest.fixture(scope="session")
def wire() -> SimpleNamespace:
    """Fields of protobuf messages, to damage them on purpose."""
    return SimpleNamespace(tagged=tagged, varint=varint, weights=caffe_weights)
