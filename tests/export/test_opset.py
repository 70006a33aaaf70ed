"""Graphs come out in operators that the oldest runtimes read, smaller, and computing the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer.errors import ModelFileError, UsageError
from edgeinfer.spec import ModelSpec, TensorSpec
from edgeinfer_export import export
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import RandomInputs
from edgeinfer_export.steps.clean import clean, infer_shapes, opset_of
from edgeinfer_export.steps.opset import MAX_OPSET, fit_opset
from edgeinfer_export.steps.shapes import settle_shapes
from edgeinfer_export.steps.simplify import same_answers, simplify

NEWEST = onnx.defs.onnx_opset_version()
INPUTS = RandomInputs((TensorSpec("x", "float32", (1, 3, 8, 8)),), ModelSpec("tensor", "tensor"))


def net(body: str, opset: int = 17, ir: int = 8, output: str = "float[1, 3, 8, 8] y") -> str:
    head = f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n'
    return f"{head}g (float[1, 3, 8, 8] x) => ({output}) {{ {body} }}"


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def same(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    return same_answers(one, other, INPUTS)


def test_a_newer_opset_is_lowered_and_still_computes_the_same(tmp_path: Path) -> None:
    body = "a = Softmax <axis = 1> (x) b = MaxPool <kernel_shape = [1, 1]> (a) y = Mul (b, x)"
    assert NEWEST > MAX_OPSET
    model = parsed(net(body, opset=min(NEWEST, 23), ir=onnx.IR_VERSION))
    lowered, notes = fit_opset(clean(model), same)
    assert opset_of(lowered) == MAX_OPSET
    assert notes == (f"opset {min(NEWEST, 23)} was lowered to {MAX_OPSET}",)
    onnx.save(model, str(tmp_path / "a.onnx"))
    done = export(tmp_path / "a.onnx", tmp_path / "out.onnx", task="tensor")
    made = onnx.load(str(done.output))
    assert (opset_of(made), made.ir_version) == (MAX_OPSET, 10)
    assert done.parity["outputs"]["y"]["max"] <= 1e-6


def test_an_operator_that_older_runtimes_lack_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if opset 17 were the limit, so that every onnx knows an operator beyond it.
    monkeypatch.setattr("edgeinfer_export.steps.opset.MAX_OPSET", 17)
    model = parsed(net("y = Gelu (x)", opset=20))
    model.graph.node[0].name = "act_7"
    with pytest.raises(ModelFileError, match=r"opset 20.*Gelu \('act_7'\).*opset_version=17"):
        fit_opset(model, same)


def test_an_old_opset_is_raised_where_that_changes_nothing() -> None:
    model = clean(parsed(net("a = Relu (x) y = Softmax <axis = 1> (a)", opset=9)))
    raised, notes = fit_opset(model, same)
    assert opset_of(raised) == 17
    assert same(model, raised)
    assert notes == ("opset 9 was raised to 17",)


def test_a_conversion_that_changes_the_model_is_not_taken() -> None:
    model = clean(parsed(net("y = Relu (x)", opset=9)))
    kept, notes = fit_opset(model, lambda one, other: False)
    assert kept is model
    assert "stays" in notes[0]


def test_what_is_between_stays() -> None:
    model = clean(parsed(net("y = Relu (x)", opset=15)))
    assert fit_opset(model, same) == (model, ())


def bn_model() -> onnx.ModelProto:
    model = parsed(
        net(
            "c = Conv (x, w) n = BatchNormalization (c, s, b, m, v) "
            "two = Add (one, one) unread = Relu (x) y = Mul (n, two)"
        )
    )
    random = np.random.default_rng(0)
    values = {"w": random.normal(size=(3, 3, 1, 1)), "s": random.random(3) + 0.5}
    values |= {"b": random.random(3), "m": random.random(3), "v": random.random(3) + 0.5}
    for name, value in (*values.items(), ("one", np.ones(1))):
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    return model


def test_constants_batch_normalizations_and_dead_branches_are_folded() -> None:
    model = clean(bn_model())
    smaller = simplify(model, INPUTS)
    assert [node.op_type for node in smaller.graph.node] == ["Conv", "Mul"]
    assert same(model, smaller)


def test_a_folding_that_changes_the_model_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeinfer_export.steps import simplify as step

    real = step.optimized

    def wrong(model: onnx.ModelProto) -> onnx.ModelProto:
        made = real(model)
        for tensor in made.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                tensor.CopyFrom(numpy_helper.from_array(values * np.float32(1.01), tensor.name))
        return made

    monkeypatch.setattr(step, "optimized", wrong)
    kept = simplify(clean(bn_model()), INPUTS)
    assert [node.op_type for node in kept.graph.node] == [
        "Conv",
        "BatchNormalization",
        "Add",
        "Mul",
    ]


def test_truth_values_are_compared_as_they_are() -> None:
    """Numpy subtracts none, so that they have no range."""
    output = "bool[1, 3, 8, 8] y"
    model = clean(parsed(net("z = Relu (x) i = Identity (z) y = Greater (i, x)", output=output)))
    other = clean(parsed(net("z = Relu (x) y = Greater (x, z)", output=output)))
    assert len(simplify(model, INPUTS).graph.node) == 2
    assert same(model, model)
    assert not same(model, other)


def test_random_operators_are_left_alone() -> None:
    model = clean(parsed(net("n = RandomNormalLike (x) z = Identity (n) y = Add (x, z)")))
    assert simplify(model, INPUTS) is model


def test_a_wrong_declared_output_shape_is_corrected() -> None:
    model = parsed(net("y = Relu (x)", output="float[1, 3, 9, 8] y"))
    dims = infer_shapes(model).graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 3, 8, 8]


def test_a_declared_dimension_that_nobody_can_infer_stays() -> None:
    text = net("y = NonZero (x)", output="int64[4, found] y")
    dims = infer_shapes(parsed(text)).graph.output[0].type.tensor_type.shape.dim
    assert (dims[0].dim_value, dims[1].dim_param) == (4, "found")


OPEN = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 3, height, width] x) => (float[n, 3, height, width] y) { y = Relu (x) }"""


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def test_open_dimensions_are_settled_everywhere_and_words_keep_them_open(tmp_path: Path) -> None:
    onnx.save(parsed(OPEN), str(tmp_path / "a.onnx"))
    done = export(
        tmp_path / "a.onnx",
        tmp_path / "out.onnx",
        task="tensor",
        input_shapes={"x": ("batch", 3, 32, 48)},
    )
    made = onnx.load(str(done.output)).graph
    assert shape_of(made.input[0]) == ["batch", 3, 32, 48]
    assert shape_of(made.output[0])[1:] == [3, 32, 48]


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        ({"z": (1, 3, 8, 8)}, r"no input 'z'"),
        ({"x": (1, 3, 8)}, r"4 dimensions; --input-shape gives it 3 \(1x3x8\)"),
        ({"x": (1, 4, 8, 8)}, r"Dimension 1 of the input 'x' is 3 .*says 4"),
        ({"x": (1, 3, 0, 8)}, r"dimension of 0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, ...]], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        settle_shapes(parsed(OPEN), shapes)


@pytest.mark.parametrize("size", ["-1", "?", "1.5", -1, 0])
def test_what_is_neither_a_number_nor_a_word_is_no_dimension(size: int | str) -> None:
    with pytest.raises(UsageError, match="a number from 1, or a word such as batch"):
        ExportOptions(input_shapes={"x": (size, 3, 8, 8)})


def test_a_word_does_not_open_a_dimension_that_the_graph_has_fixed(tmp_path: Path) -> None:
    onnx.save(parsed(OPEN), str(tmp_path / "a.onnx"))
    with pytest.raises(UsageError, match=r"Dimension 1 of the input 'x' is fixed at 3.*'depth'"):
        export(
            *(tmp_path / "a.onnx", tmp_path / "out.onnx"),
            task="tensor",
            input_shapes={"x": (1, "depth", 8, 8)},
        )


def test_functions_of_a_models_own_are_lowered_with_it() -> None:
    model = parsed(
        """<ir_version: 10, opset_import: ["" : 22, "own" : 1]>
        g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = own.twice (x) }
        <domain: "own", opset_import: ["" : 22]>
        twice (a) => (b) { b = Add (a, a) }"""
    )
    lowered, _ = fit_opset(clean(model), same)
    assert (opset_of(lowered), len(lowered.functions)) == (MAX_OPSET, 0)
    assert [node.op_type for node in lowered.graph.node] == ["Add"]
