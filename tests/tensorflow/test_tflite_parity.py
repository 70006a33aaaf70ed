"""TFLite operators, one by one, held against Google's interpreter."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel
from edgeinfer_export.sources.tflite.convert import Converted, convert
from edgeinfer_export.sources.tflite.model import parse
from edgeinfer_export.toolrooms import open_room

Open = Callable[..., SourceModel]


def _names(table: str) -> list[str]:
    """The cases of make_tflite.py, read without TensorFlow."""
    tree = ast.parse(Path(__file__).with_name("make_tflite.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == table:
            if isinstance(node.value, ast.Dict):
                return [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
            return list(ast.literal_eval(node.value))
    raise AssertionError(table)


@pytest.fixture(scope="module")
def converted(tflite: Path) -> dict[str, Converted]:
    """All files converted, and beside each the answers of LiteRT."""
    made = {path.name: convert(parse(path.read_bytes()), {}) for path in tflite.glob("*.tflite")}
    shapes, outputs = {}, {}
    for name, found in made.items():
        dims = found.model.graph.input[0].type.tensor_type.shape.dim
        shapes[name] = [dim.dim_value for dim in dims]
        outputs[name] = list(found.outputs)
    script = str(Path(__file__).with_name("answer_tflite.py"))
    request = {"folder": str(tflite), "shapes": shapes, "outputs": outputs}
    open_room("litert").run(script, request)
    return made


def apart(tflite: Path, name: str, found: Converted) -> tuple[float, float]:
    """The largest and the mean difference, as shares of LiteRT's range."""
    path = tflite / f"{name}.onnx"
    path.write_bytes(found.model.SerializeToString())
    session = Session(path)
    shape = [dim.dim_value for dim in found.model.graph.input[0].type.tensor_type.shape.dim]
    worst = mean = 0.0
    with np.load(tflite / f"{name}.npz") as answers:
        for seed in range(3):
            x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            got = session.run({found.inputs[0]: x})
            for number, output in enumerate(found.outputs):
                wanted = answers[f"{seed}_{number}"]
                assert (got[output].shape, got[output].dtype) == (wanted.shape, wanted.dtype)
                difference = np.abs(got[output].astype(np.float64) - wanted.astype(np.float64))
                span = float(wanted.max()) - float(wanted.min()) or 1.0
                worst = max(worst, float(difference.max()) / span)
                mean = max(mean, float(difference.mean()) / span)
    return worst, mean


@pytest.mark.parametrize("name", [*_names("PICTURES"), *_names("ROWS"), "lstm"])
def test_a_float_operator_computes_what_litert_computes(
    tflite: Path, converted: dict[str, Converted], name: str
) -> None:
    file = f"{name}.float.tflite"
    assert apart(tflite, file, converted[file])[0] < 2e-6
    assert converted[file].rounded == (name == "fake_quant")


@pytest.mark.parametrize("name", _names("QUANTIZED"))
def test_a_quantized_operator_is_a_step_away_at_most(
    tflite: Path, converted: dict[str, Converted], name: str
) -> None:
    found = converted[f"{name}.int8.tflite"]
    ops = Counter(node.op_type for node in found.model.graph.node)
    assert ops["QuantizeLinear"] >= 2 and ops["DequantizeLinear"] >= 2
    worst, mean = apart(tflite, f"{name}.int8.tflite", found)
    # Ties are rounded one way or the other: rarely, and then by one of 255 steps.
    assert worst < 0.02 and mean < 0.001
    assert found.rounded
    assert any("float32 here" in note for note in found.notes)


@pytest.mark.parametrize(
    ("form", "most"), [("uint8", 1e-9), ("float16", 1e-5), ("dynamic", 1e-5), ("int16", 2e-4)]
)
def test_every_form_of_numbers_is_read(
    tflite: Path, converted: dict[str, Converted], form: str, most: float
) -> None:
    file = f"residual.{form}.tflite"
    assert apart(tflite, file, converted[file])[0] < most


@pytest.mark.parametrize(
    "name", ["conv_same", "add_broadcast", "concat_channels", "pad", "resize_bilinear", "prelu"]
)
def test_only_the_ends_are_transposed(converted: dict[str, Converted], name: str) -> None:
    ops = Counter(node.op_type for node in converted[f"{name}.float.tflite"].model.graph.node)
    assert ops["Transpose"] == 2


def test_the_reader_compares_with_litert(tflite: Path, opened: Open) -> None:
    source = opened(tflite / "residual.int8.tflite")
    assert source.framework == "tflite"
    assert source.reference is not None and source.reference.name.startswith("LiteRT")
    fed = {"x": np.random.default_rng(0).normal(size=(1, 8, 6, 4)).astype(np.float32)}
    fed = {source.model.graph.input[0].name: fed["x"]}
    wanted, got = source.reference.run(fed), Session(source.path).run(fed)
    assert {name: value.tolist() for name, value in wanted.items()} == {
        name: value.tolist() for name, value in got.items()
    }
    assert source.tolerance.max > opened(tflite / "residual.float.tflite").tolerance.max
