"""TFLite files without TensorFlow: read by hand, converted, and computed by hand again."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from edgeinfer.errors import MissingPackageError, ModelFileError, UsageError
from edgeinfer_export import export
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import Request, SourceModel, tflite
from edgeinfer_export.sources.tflite.convert import convert
from edgeinfer_export.sources.tflite.flatbuffer import Table
from edgeinfer_export.sources.tflite.model import parse


def _beside(name: str) -> ModuleType:
    """A module that lies beside this file."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


f = _beside("tflite_files")


@pytest.fixture(autouse=True)
def _no_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no network: the room of the reference cannot be built here."""

    def refuse(name: str, say: object) -> None:
        raise MissingPackageError("there is no network")

    monkeypatch.setattr(tflite, "open_room", refuse)


def opened(data: bytes, folder: Path, **given: Any) -> SourceModel:
    path = folder / "model.tflite"
    path.write_bytes(data)
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    return tflite.open_source(Request(path=path, folder=kept, **given))


def by_hand(x: np.ndarray[Any, Any], w: Any, b: Any) -> np.ndarray[Any, Any]:
    """The convolution of `conv_model`, pixel by pixel, as its definition says."""
    # SAME with stride 2 over five rows and six columns: a row before and after, a column after.
    padded = np.pad(x, ((0, 0), (1, 1), (0, 1), (0, 0)))
    made = np.zeros((1, 3, 3, 4), np.float32)
    for row in range(3):
        for column in range(3):
            patch = padded[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            made[0, row, column] = np.einsum("hwc,ohwc->o", patch, w) + b
    return np.clip(made, 0, 6)


def test_a_convolution_is_what_its_definition_says(tmp_path: Path) -> None:
    data, weights = f.conv_model(np.random.default_rng(0))
    source = opened(data, tmp_path)
    x = np.random.default_rng(1).normal(size=(1, 5, 6, 3)).astype(np.float32)
    got = Session(source.path).run({"x": x})
    assert list(got) == ["y"]
    assert np.abs(got["y"] - by_hand(x, weights["w"], weights["b"])).max() < 1e-5
    assert Counter(node.op_type for node in source.model.graph.node) == {
        "Transpose": 2,
        "Conv": 1,
        "Clip": 1,
    }
    assert source.reference is None
    assert any("there is no network" in note for note in source.notes)


def test_an_export_needs_neither_framework_nor_network(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(f.conv_model(np.random.default_rng(0))[0])
    done = export(path, tmp_path / "out.onnx")
    assert done.parity["outputs"]["y"] == {"max": 0.0, "mean": 0.0}
    model = onnx.load(str(done.output))
    assert model.opset_import[0].version == 17 and model.ir_version <= 10
    again = export(path, tmp_path / "again.onnx")
    assert again.sha256 == done.sha256


def dense(
    x: dict[str, Any], w: dict[str, Any], b: dict[str, Any], y: dict[str, Any], buffers: Any
) -> bytes:
    made: bytes = f.model(
        ["FULLY_CONNECTED"],
        [f.tensor("x", **x), f.tensor("w", **w), f.tensor("b", **b), f.tensor("y", **y)],
        [f.operator(0, (0, 1, 2), (3,), {0: f.Scalar("b", 0)})],
        ((0,), (3,)),
        buffers,
    )
    return made


def test_a_quantized_layer_computes_on_integers(tmp_path: Path) -> None:
    w = np.array([[1, -2, 3], [4, 5, -6]], np.int8)
    b = np.array([10, -20], np.int32)
    data = dense(
        {"shape": (1, 3), "dtype": "int8", "scale": [0.5], "zero_point": [-1]},
        {"shape": (2, 3), "dtype": "int8", "buffer": 1, "scale": [0.25], "zero_point": [0]},
        {"shape": (2,), "dtype": "int32", "buffer": 2, "scale": [99.0], "zero_point": [0]},
        {"shape": (1, 2), "dtype": "int8", "scale": [1.0], "zero_point": [3]},
        (w, b),
    )
    source = opened(data, tmp_path)
    x = np.array([[1.0, 2.0, -3.5]], np.float32)
    stored = np.rint(x / 0.5) - 1
    total = (stored + 1).astype(int) @ w.T.astype(int) + b
    # A bias counts in 0.5 * 0.25, whatever its own scale says: so do TFLite's kernels.
    wanted = np.clip(np.rint(total * 0.125 / 1.0) + 3, -128, 127) - 3
    assert Session(source.path).run({"x": x})["y"].tolist() == wanted.tolist()
    assert {t.data_type for t in source.model.graph.initializer} >= {onnx.TensorProto.INT8}
    assert any("'x' is int8" in note and "(q - -1) * 0.5" in note for note in source.notes)


def test_constants_of_16_bits_become_float32(tmp_path: Path) -> None:
    step: dict[str, Any] = {"scale": [0.125], "zero_point": [0]}
    data = f.model(
        ["ADD"],
        [
            f.tensor("x", (1, 3), "int16", **step),
            f.tensor("w", (1, 3), "int16", buffer=1, **step),
            f.tensor("y", (1, 3), "int16", **step),
        ],
        [f.operator(0, (0, 1), (2,))],
        ((0,), (2,)),
        (np.array([8, 16, -8], np.int16),),
    )
    source = opened(data, tmp_path)
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    assert Session(source.path).run({"x": x})["y"].tolist() == [[2.0, 4.0, 2.0]]


def test_scales_per_channel_stay_on_their_channel(tmp_path: Path) -> None:
    w = np.array([[1, -2, 3], [4, 5, -6]], np.int8)
    data = dense(
        {"shape": (1, 3), "dtype": "int8", "scale": [1.0], "zero_point": [0]},
        {"shape": (2, 3), "dtype": "int8", "buffer": 1, "scale": [1, 0.5], "zero_point": [0, 0]},
        {"shape": (2,), "dtype": "int32", "buffer": 2, "scale": [1, 0.5], "zero_point": [0, 0]},
        {"shape": (1, 2), "dtype": "int8", "scale": [0.5], "zero_point": [0]},
        (w, np.array([2, 4], np.int32)),
    )
    x = np.array([[1.0, 2.0, 3.0]], np.float32)
    got = Session(opened(data, tmp_path).path).run({"x": x})["y"]
    assert got.tolist() == [[1 - 4 + 9 + 2, 0.5 * (4 + 10 - 18) + 2]]


def test_an_open_batch_stays_open(tmp_path: Path) -> None:
    w = np.eye(3, dtype=np.float32)
    data = dense(
        {"shape": (1, 3), "signature": (-1, 3)},
        {"shape": (3, 3), "buffer": 1},
        {"shape": (3,), "buffer": 2},
        {"shape": (1, 3), "signature": (-1, 3)},
        (w, np.zeros(3, np.float32)),
    )
    source = opened(data, tmp_path)
    assert source.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    x = np.ones((5, 3), np.float32)
    assert Session(source.path).run({"x": x})["y"].tolist() == x.tolist()
    fixed = opened(data, tmp_path, input_shapes={"x": (4, 3)})
    assert fixed.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    with pytest.raises(UsageError, match=r"'x' is \[-1, 3\].*\[4, 7\]"):
        opened(data, tmp_path, input_shapes={"x": (4, 7)})
    with pytest.raises(UsageError, match="no input 'z'"):
        opened(data, tmp_path, input_shapes={"z": (4, 3)})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("SVDF", r"SVDF \(operator 0, which makes 'y'\).*Supported are: .*CONV_2D"),
        ("CUSTOM:Detect_It", r"custom operator 'Detect_It' \(operator 0"),
        ("CUSTOM:FlexErf", r"'FlexErf'.*Flex.*SavedModel"),
    ],
)
def test_an_operator_that_is_not_supported_is_named_with_its_place(
    tmp_path: Path, code: str, message: str
) -> None:
    data = f.model(
        [code],
        [f.tensor("x", (1, 3)), f.tensor("y", (1, 3))],
        [f.operator(0, (0,), (1,))],
        ((0,), (1,)),
    )
    with pytest.raises(ModelFileError, match=message) as caught:
        opened(data, tmp_path)
    assert "model.tflite" in str(caught.value) and "\n" not in str(caught.value)


def test_a_form_of_an_operator_that_is_not_supported_is_named(tmp_path: Path) -> None:
    data = f.model(
        ["SPLIT"],
        [f.tensor("axis", (1,), "int32"), f.tensor("x", (1, 4)), f.tensor("y", (1, 2))],
        [f.operator(0, (0, 1), (2,))],
        ((0, 1), (2,)),
    )
    with pytest.raises(ModelFileError, match=r"SPLIT \(operator 0.*axis is computed"):
        opened(data, tmp_path)


def test_text_is_no_number(tmp_path: Path) -> None:
    data = f.model(
        ["RELU"],
        [f.tensor("x", (1,), "string"), f.tensor("y", (1,))],
        [f.operator(0, (0,), (1,))],
        ((0,), (1,)),
    )
    with pytest.raises(ModelFileError, match="'x' holds string"):
        opened(data, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operators": [(0, (0,), (9,))]}, "number 9 of 2"),
        ({"operators": [(0, (-2,), (1,))]}, "number -2 of 2"),
        ({"operators": [(7, (0,), (1,))]}, "number 7 of 1"),
        ({"operators": []}, "no operators or no outputs"),
        ({"version": 4}, "version 4"),
        ({"buffer": 5}, "number 5 of 1"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    operators = change.get("operators", [(0, (0,), (1,))])
    data = f.model(
        ["RELU"],
        [f.tensor("x", (1, 3), buffer=change.get("buffer", 0)), f.tensor("y", (1, 3))],
        [f.operator(*entry) for entry in operators],
        ((0,), (1,)),
        version=change.get("version", 3),
    )
    with pytest.raises(ModelFileError, match=message):
        opened(data, tmp_path)


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    data = f.model(
        ["ADD"],
        [f.tensor("x", (1, 3)), f.tensor("w", (1, 300), buffer=1), f.tensor("y", (1, 3))],
        [f.operator(0, (0, 1), (2,))],
        ((0,), (2,)),
        (np.zeros(3, np.float32),),
    )
    with pytest.raises(ModelFileError, match=r"'w' is \[1, 300\] float32, and 12 bytes"):
        opened(data, tmp_path)


def test_a_file_cut_off_anywhere_is_refused_and_nothing_worse(tmp_path: Path) -> None:
    data, _ = f.conv_model(np.random.default_rng(0))
    for length in range(0, len(data), 7):
        with pytest.raises(ModelFileError):
            convert(parse(data[:length]), {})


def test_flipped_bytes_are_refused_or_read_and_nothing_worse() -> None:
    data, _ = f.conv_model(np.random.default_rng(0))
    random = np.random.default_rng(5)
    outcomes = Counter[str]()
    for _ in range(1500):
        broken = bytearray(data)
        for place in random.integers(0, len(data) - 432, 3):
            broken[place] = random.integers(0, 256)
        try:
            convert(parse(bytes(broken)), {})
            outcomes["read"] += 1
        except (ModelFileError, UsageError):
            outcomes["refused"] += 1
    assert outcomes["refused"] > 300 and outcomes["read"] > 100


def test_a_foreign_file_is_not_recognized(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for data in (b"", b"TFL3", b"<!DOCTYPE html>", b"\x00" * 64):
        path.write_bytes(data)
        assert not tflite.recognizes(path)
        with pytest.raises(ModelFileError, match="lacks the mark TFL3"):
            opened(data, tmp_path)
    assert not tflite.recognizes(tmp_path)
    assert not tflite.recognizes(tmp_path / "nothing")
    path.write_bytes(f.conv_model(np.random.default_rng(0))[0])
    assert tflite.recognizes(path)


def test_fields_that_are_absent_have_their_defaults() -> None:
    table = Table.root(f.write({0: f.Scalar("i", 7), 2: "text", 3: np.array([1, 2], "<i4")}))
    assert table.number(0) == 7
    assert table.number(1, default=5) == 5
    assert table.number(9) == 0
    assert table.text(2) == "text" and table.text(5) == ""
    assert table.vector(3, "i4").tolist() == [1, 2] and table.vector(6, "i4").size == 0
    assert table.table(4) is None and list(table.tables(4)) == []
    assert not table.has(1) and table.has(2)


def test_a_picture_of_eight_bits_says_how_it_is_prepared(tmp_path: Path) -> None:
    data = f.model(
        ["RELU"],
        [
            f.tensor("x", (1, 8, 9, 3), "uint8", scale=[1 / 128], zero_point=[128]),
            f.tensor("y", (1, 8, 9, 3), "uint8", scale=[1 / 128], zero_point=[0]),
        ],
        [f.operator(0, (0,), (1,))],
        ((0,), (1,)),
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    done = export(path, tmp_path / "out.onnx", task="tensor")
    (picture,) = done.spec.inputs
    assert (picture.layout, picture.size_hw, picture.color) == ("nhwc", (8, 9), "rgb")
    # A pixel of 0 is -1, one of 255 is almost 1.
    assert (0 * picture.scale - picture.mean[0]) / picture.std[0] == -1
    assert (255 * picture.scale - picture.mean[0]) / picture.std[0] == pytest.approx(127 / 128)
    assert done.precision == "int8"
