"""Keras files, SavedModels and frozen graphs: what works is held against TensorFlow itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeinfer.errors import ModelFileError
from edgeinfer_export import export
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel

Open = Callable[..., SourceModel]


def apart(source: SourceModel, batch: int = 2) -> float:
    assert source.reference is not None
    random = np.random.default_rng(0)
    fed = {
        value.name: random.normal(
            size=[dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in source.model.graph.input
    }
    wanted, got = source.reference.run(fed), Session(source.path).run(fed)
    assert list(wanted) == list(got)
    worst = 0.0
    for name, value in wanted.items():
        assert got[name].shape == value.shape
        span = float(value.max() - value.min()) or 1.0
        worst = max(worst, float(np.abs(got[name] - value).max()) / span)
    return worst


def ends(source: SourceModel) -> tuple[list[str], list[str]]:
    graph = source.model.graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("branches2.h5", "Keras 2."),
        ("branches2.keras", "Keras 2."),
        ("branches3.h5", "Keras 3."),
        ("branches3.keras", "Keras 3."),
    ],
)
def test_each_keras_file_is_read_by_the_keras_that_wrote_it(
    models: Path, opened: Open, name: str, title: str
) -> None:
    source = opened(models / name)
    assert source.framework == "keras"
    assert source.reference is not None and source.reference.name.startswith(title)
    assert ends(source) == (["picture", "extra"], ["classes", "map"])
    assert apart(source) < 1e-5
    ops = Counter(node.op_type for node in source.model.graph.node)
    # The picture goes in as NHWC and the map comes out so; nothing is turned in between.
    assert ops["Transpose"] == 2
    assert source.model.opset_import[0].version == 17 and source.model.ir_version <= 10
    assert set(source.provenance) == {"tensorflow", "tf2onnx"}


@pytest.mark.parametrize("name", ["recurrent2.h5", "recurrent3.keras"])
def test_recurrent_layers_are_converted(models: Path, opened: Open, name: str) -> None:
    source = opened(models / name)
    assert ends(source) == (["series"], ["score"])
    assert apart(source) < 1e-5
    assert "LSTM" in {node.op_type for node in source.model.graph.node}


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("served", ["best", "mean"]),
        ("single", ["best", "mean"]),
        ("frozen.pb", ["Identity", "Identity_1"]),
        ("served/saved_model.pb", ["best", "mean"]),
    ],
)
def test_graphs_are_found_by_their_signature_or_their_ends(
    models: Path, opened: Open, name: str, outputs: list[str]
) -> None:
    source = opened(models / name)
    assert source.framework == "tensorflow"
    assert ends(source) == (["pixels"], outputs)
    assert apart(source) < 1e-5


def test_a_keras_export_is_a_saved_model(models: Path, opened: Open) -> None:
    assert apart(opened(models / "exported")) < 1e-5


@pytest.mark.parametrize("name", ["branches3.keras", "served"])
def test_the_same_model_gives_the_same_bytes(models: Path, opened: Open, name: str) -> None:
    one, two = (opened(models / name).model.SerializeToString() for _ in range(2))
    assert one == two


def test_a_shape_that_is_given_is_fixed(models: Path, opened: Open) -> None:
    source = opened(models / "served", input_shapes={"pixels": (3, 8, 8, 3)})
    dims = source.model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [3, 8, 8, 3]
    assert apart(source) < 1e-5
    named = opened(models / "branches3.keras", input_shapes={"extra": ("n", 4)})
    assert named.model.graph.input[1].type.tensor_type.shape.dim[0].dim_param == "n"
    with pytest.raises(ModelFileError, match=r"'pixels' is \[None, 8, 8, 3\].*\[1, 9, 8, 3\]"):
        opened(models / "frozen.pb", input_shapes={"pixels": (1, 9, 8, 3)})
    with pytest.raises(ModelFileError, match="no input 'picsels'; its inputs are: pixels"):
        opened(models / "served", input_shapes={"picsels": (1, 8, 8, 3)})


@pytest.mark.parametrize("name", ["lambda3.keras", "lambda2.h5"])
def test_code_in_a_file_runs_only_where_it_is_trusted(
    models: Path, opened: Open, name: str
) -> None:
    with pytest.raises(ModelFileError, match=r"Python code: 'doubled' \(Lambda\).*--trust-pickle"):
        opened(models / name)
    assert apart(opened(models / name, trust_pickle=True)) < 1e-6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("custom3.keras", r"'twist' \(class Swirl\).*model\.export"),
        ("weights2.h5", "holds weights only"),
        ("only.weights.h5", "holds weights only"),
        ("several", r"several signatures \(one, two\)"),
        ("unsigned", "no signature"),
        ("python", r"PyFunc \('"),
        ("odd", r"Betainc \(at '.*Betainc'\)"),
        ("variables.pb", r"not frozen.*weight"),
        ("constants.pb", "no placeholders"),
    ],
)
def test_what_cannot_be_exported_is_named(
    models: Path, opened: Open, name: str, message: str
) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        opened(models / name)
    assert str(models / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["branches2.h5", "branches3.keras", "frozen.pb", "served"])
def test_a_file_that_is_cut_off_is_refused(
    models: Path, opened: Open, tmp_path: Path, name: str
) -> None:
    whole = models / name
    if whole.is_dir():
        broken = tmp_path / name
        broken.mkdir()
        data = (whole / "saved_model.pb").read_bytes()
        (broken / "saved_model.pb").write_bytes(data[: len(data) // 2])
    else:
        broken = tmp_path / name
        data = whole.read_bytes()
        broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError) as caught:
        opened(broken)
    assert str(broken) in str(caught.value) and len(str(caught.value)) < 1200


def test_a_keras_model_is_exported_whole(models: Path, tmp_path: Path) -> None:
    told: list[str] = []
    done = export(models / "branches3.keras", tmp_path / "out.onnx", say=told.append)
    assert done.parity["reference"].startswith("Keras 3.")
    assert max(figures["max"] for figures in done.parity["outputs"].values()) < 1e-5
    assert any("tf2onnx" in line for line in told)
    spec = json.loads(
        {e.key: e.value for e in onnx.load(done.output).metadata_props}["edgeinfer.spec"]
    )
    picture = next(item for item in spec["inputs"] if item["name"] == "picture")
    assert (picture["layout"], picture["size_hw"]) == ("nhwc", [16, 12])
