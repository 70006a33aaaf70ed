"""Keras files, SavedModels and frozen graphs: what works is held against TensorFlow itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgeinfer.errors import ModelFileError
from edgeinfer_export import export
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources import SourceModel
from edgeinfer_export.sources.canonical import canonical
from edgeinfer_export.toolrooms import Room

Open = Callable[..., SourceModel]

BRANCHES = {"picture": (2, 16, 12, 3), "extra": (2, 4)}
SERIES = {"series": (2, 7, 5)}
PIXELS = {"pixels": (2, 8, 8, 3)}
ROW = {"x": (2,)}


def case(file: str, inputs: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    kind = "frozen" if file.endswith(".pb") else "keras" if "." in file else "saved_model"
    return {"file": file, "kind": kind, "inputs": inputs, "shapes": {}, "trust": False, **given}


# Name: what is asked, and the inputs and outputs that the ONNX graph shall have.
GOOD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "branches2.h5": (case("branches2.h5", BRANCHES), ["classes", "map"]),
    "branches2.keras": (case("branches2.keras", BRANCHES), ["classes", "map"]),
    "branches3.h5": (case("branches3.h5", BRANCHES), ["classes", "map"]),
    "branches3.keras": (case("branches3.keras", BRANCHES), ["classes", "map"]),
    "recurrent2.h5": (case("recurrent2.h5", SERIES), ["score"]),
    "recurrent3.keras": (case("recurrent3.keras", SERIES), ["score"]),
    "exported": (case("exported", dict(sorted(BRANCHES.items()))), ["output_0", "output_1"]),
    "served": (case("served", PIXELS), ["best", "mean"]),
    "single": (case("single", PIXELS), ["best", "mean"]),
    "old": (case("old", PIXELS), ["seen", "total"]),
    "frozen.pb": (case("frozen.pb", PIXELS), ["Identity", "Identity_1"]),
    "fixed": (case("served", PIXELS, shapes={"pixels": [2, 8, 8, 3]}), ["best", "mean"]),
    "named": (case("served", PIXELS, shapes={"pixels": ["n", 8, 8, 3]}), ["best", "mean"]),
    "trusted3": (case("lambda3.keras", {}, trust=True), ["doubled"]),
    "trusted2": (case("lambda2.h5", {}, trust=True), ["doubled"]),
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "lambda3": (case("lambda3.keras", {}), r"Python code: 'doubled' \(Lambda\).*--trust-pickle"),
    "lambda2": (case("lambda2.h5", {}), r"Python code: 'doubled' \(Lambda\).*--trust-pickle"),
    "custom3": (case("custom3.keras", {}), r"'twist' \(class Swirl\).*model\.export"),
    "custom2": (case("custom2.h5", {}), r"'twist' \(class Swirl\).*model\.export"),
    "weights2": (case("weights2.h5", {}), "holds weights only"),
    "weights3": (case("only.weights.h5", {}), "holds weights only"),
    "several": (case("several", {}), r"several signatures \(one, two\)"),
    "unsigned": (case("unsigned", {}), "no signature"),
    "python": (case("python", ROW), r"PyFunc \('"),
    "odd": (case("odd", ROW), r"Betainc \(at '.*Betainc'\)"),
    "variables": (case("variables.pb", {}), r"not frozen.*weight"),
    "constants": (case("constants.pb", {}), "no placeholders"),
    "other_shape": (
        case("frozen.pb", PIXELS, shapes={"pixels": [1, 9, 8, 3]}),
        r"'pixels' is \[None, 8, 8, 3\].*\[1, 9, 8, 3\]",
    ),
    "other_name": (
        case("served", PIXELS, shapes={"picsels": [1, 8, 8, 3]}),
        "no input 'picsels'; its inputs are: pixels",
    ),
    "cut_h5": (case("cut.h5", {}), "HDF5 file is cut off or damaged"),
    "cut_keras": (case("cut.keras", {}), r"damaged|no JSON|HDF5"),
    "cut_pb": (case("cut.pb", {}), "cut off or damaged"),
    "cut_saved": (case("cut_saved", {}), "cannot load the SavedModel"),
}


@pytest.fixture(scope="module")
def answers(room: Room, models: Path) -> dict[str, Any]:
    """What TensorFlow's room says to every case, in one process."""
    for whole, cut in (
        ("branches2.h5", "cut.h5"),
        ("branches3.keras", "cut.keras"),
        ("frozen.pb", "cut.pb"),
        ("served/saved_model.pb", "cut_saved/saved_model.pb"),
    ):
        data = (models / whole).read_bytes()
        (models / cut).parent.mkdir(exist_ok=True)
        (models / cut).write_bytes(data[: len(data) // 2])
    cases = {name: asked for name, (asked, _) in (*GOOD.items(), *BAD.items())}
    for name in ("trusted3", "trusted2"):
        cases[name]["inputs"] = {_only_input(name): (2, 4)}
    script = str(Path(__file__).with_name("answer_models.py"))
    found: dict[str, Any] = room.run(script, {"folder": str(models), "cases": cases})
    return found


def _only_input(name: str) -> str:
    # Keras counts the inputs that nobody named.
    return {"trusted3": "input_layer", "trusted2": "input_1"}[name]


@pytest.mark.parametrize("name", GOOD)
def test_onnx_computes_what_tensorflow_computes(
    models: Path, answers: dict[str, Any], name: str
) -> None:
    asked, outputs = GOOD[name]
    answer = answers[name]
    assert "refused" not in answer, answer
    model = onnx.load(str(models / f"{name}.onnx"))
    canonical(model)
    onnx.checker.check_model(model)
    assert [value.name for value in model.graph.input] == list(asked["inputs"])
    assert [value.name for value in model.graph.output] == outputs == answer["outputs"]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version <= 10
    (models / f"{name}.canonical.onnx").write_bytes(model.SerializeToString())
    fed = {
        given: np.random.default_rng(number).normal(size=shape).astype(np.float32)
        for number, (given, shape) in enumerate(asked["inputs"].items())
    }
    got = Session(models / f"{name}.canonical.onnx").run(fed)
    with np.load(models / f"{name}.npz") as wanted:
        for number, output in enumerate(outputs):
            value = wanted[f"arr_{number}"]
            assert (got[output].shape, got[output].dtype) == (value.shape, value.dtype)
            span = float(value.max()) - float(value.min()) or 1.0
            assert np.abs(got[output] - value).max() / span < 1e-5


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_exported_is_named(answers: dict[str, Any], name: str) -> None:
    import re

    refused = answers[name].get("refused", "it was converted")
    assert re.search(BAD[name][1], refused), refused
    assert "\n" not in refused and len(refused) < 900


def test_each_keras_file_is_read_by_the_keras_that_wrote_it(answers: dict[str, Any]) -> None:
    for name in ("branches2.h5", "branches2.keras", "recurrent2.h5"):
        assert answers[name]["name"].startswith("Keras 2.")
    for name in ("branches3.h5", "branches3.keras", "recurrent3.keras"):
        assert answers[name]["name"].startswith("Keras 3.")
    assert answers["frozen.pb"]["name"].startswith("TensorFlow 2.")


def test_pictures_stay_nhwc_and_nothing_is_turned_between(
    models: Path, answers: dict[str, Any]
) -> None:
    for name in ("branches2.h5", "branches3.keras"):
        ops = Counter(node.op_type for node in onnx.load(str(models / f"{name}.onnx")).graph.node)
        # The picture in, the map out.
        assert ops["Transpose"] == 2
    assert "LSTM" in {
        node.op_type for node in onnx.load(str(models / "recurrent3.keras.onnx")).graph.node
    }


def test_open_sizes_have_names_and_given_ones_are_fixed(
    models: Path, answers: dict[str, Any]
) -> None:
    def first(name: str) -> Any:
        value = onnx.load(str(models / f"{name}.onnx")).graph.input[0]
        return value.type.tensor_type.shape.dim[0]

    assert first("served").dim_param == "batch"
    assert first("named").dim_param == "n"
    assert first("fixed").dim_value == 2


# tf2onnx merges nodes that are equal, of which loops as those of GRUs have many.
@pytest.mark.parametrize("name", ["branches3.keras", "recurrent3.keras", "served/saved_model.pb"])
def test_the_same_model_gives_the_same_bytes(models: Path, opened: Open, name: str) -> None:
    made = [opened(models / name) for _ in range(3)]
    assert len({one.model.SerializeToString() for one in made}) == 1
    assert len({one.sha256 for one in made}) == 1
    assert set(made[0].provenance) == {"tensorflow", "tf2onnx"}


def test_a_refusal_names_the_file(models: Path, opened: Open) -> None:
    with pytest.raises(ModelFileError, match="holds weights only") as caught:
        opened(models / "weights2.h5")
    assert str(models / "weights2.h5") in str(caught.value)


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
