"""TFLite operators, one by one, held against Google's interpreter."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.frames import Array
from edgeinfer.spec import TensorSpec
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel
from edgeinfer_export.steps.meaning import tensor_spec

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


def inputs_of(source: SourceModel, seed: int) -> dict[str, Array]:
    made: dict[str, Array] = {}
    for value in source.model.graph.input:
        spec: TensorSpec = tensor_spec(value)
        shape = [size if isinstance(size, int) else 2 for size in spec.shape]
        made[spec.name] = np.random.default_rng(seed).normal(size=shape).astype(spec.dtype)
    return made


def apart(source: SourceModel) -> tuple[float, float]:
    """The largest and the mean difference, as shares of the reference's range."""
    assert source.reference is not None
    worst = mean = 0.0
    session = Session(source.path)
    for seed in range(3):
        fed = inputs_of(source, seed)
        wanted: Mapping[str, Array] = source.reference.run(fed)
        got = session.run(fed)
        assert list(wanted) == list(got)
        for name, value in wanted.items():
            assert got[name].shape == value.shape
            assert got[name].dtype == value.dtype
            a, b = got[name].astype(np.float64), value.astype(np.float64)
            span = float(b.max() - b.min()) or 1.0
            worst = max(worst, float(np.abs(a - b).max()) / span)
            mean = max(mean, float(np.abs(a - b).mean()) / span)
    return worst, mean


@pytest.mark.parametrize("name", [*_names("PICTURES"), *_names("ROWS"), "lstm"])
def test_a_float_operator_computes_what_litert_computes(
    tflite: Path, opened: Open, name: str
) -> None:
    source = opened(tflite / f"{name}.float.tflite")
    assert source.reference is not None and source.reference.name.startswith("LiteRT")
    assert source.framework == "tflite"
    assert apart(source)[0] < 2e-6


@pytest.mark.parametrize("name", _names("QUANTIZED"))
def test_a_quantized_operator_is_a_step_away_at_most(tflite: Path, opened: Open, name: str) -> None:
    source = opened(tflite / f"{name}.int8.tflite")
    ops = Counter(node.op_type for node in source.model.graph.node)
    assert ops["QuantizeLinear"] >= 2 and ops["DequantizeLinear"] >= 2
    worst, mean = apart(source)
    # Ties are rounded one way or the other: rarely, and then by one of 255 steps.
    assert worst < 0.02 and mean < 0.001
    assert source.tolerance.max > 1e-4
    assert any("float32 here" in note for note in source.notes)


@pytest.mark.parametrize(
    ("form", "most"), [("uint8", 1e-9), ("float16", 1e-5), ("dynamic", 1e-5), ("int16", 2e-4)]
)
def test_every_form_of_numbers_is_read(tflite: Path, opened: Open, form: str, most: float) -> None:
    assert apart(opened(tflite / f"residual.{form}.tflite"))[0] < most


@pytest.mark.parametrize(
    "name", ["conv_same", "add_broadcast", "concat_channels", "pad", "resize_bilinear", "prelu"]
)
def test_only_the_ends_are_transposed(tflite: Path, opened: Open, name: str) -> None:
    ops = Counter(node.op_type for node in opened(tflite / f"{name}.float.tflite").model.graph.node)
    assert ops["Transpose"] == 2
