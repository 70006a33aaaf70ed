"""A softmax over channels is flattened where that pays, and gives the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeinfer.spec import ModelSpec, TensorSpec
from edgeinfer_export import export
from edgeinfer_export.quantize.calibration import RandomInputs
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.steps import softmax as step
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.softmax import flatten_softmax

SIZES = (2, 6, 4, 5)


def net(body: str, shape: str = "2, 6, 4, 5", opset: int = 17) -> onnx.ModelProto:
    sizes = ", ".join(f"r{i}" for i in range(shape.count(",") + 1))
    return clean(
        onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
            f"g (float[{shape}] x) => (float[{sizes}] y) {{ {body} }}"
        )
    )


def flattened(model: onnx.ModelProto, sizes: tuple[int, ...] = SIZES) -> onnx.ModelProto:
    tensors = (TensorSpec("x", "float32", sizes),)
    return flatten_softmax(model, RandomInputs(tensors, ModelSpec("tensor", "tensor")))


def answers(model: onnx.ModelProto, path: Path, sizes: tuple[int, ...]) -> np.ndarray:
    path.write_bytes(model.SerializeToString())
    given = np.random.default_rng(3).normal(0, 4, sizes).astype(np.float32)
    found = Session(path).run({"x": given})["y"]
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize(
    ("body", "shape", "ways"),
    [
        ("y = Softmax <axis = 1> (x)", "2, 6, 4, 5", ([0, 0, 20], [0, 0, 4, 5])),
        ("y = LogSoftmax <axis = -3> (x)", "2, 6, 4, 5", ([0, 0, 20], [0, 0, 4, 5])),
        ("y = Softmax <axis = 0> (x)", "2, 6, 4, 5", ([0, 120], [0, 6, 4, 5])),
        ("y = Softmax <axis = 1> (x)", "N, 6, 4, 5", ([0, 0, 20], [0, 0, 4, 5])),
        ("y = Softmax <axis = 1> (x)", "2, 6, H, 5", ([0, 0, -1], [0, 0, -1, 5])),
    ],
)
def test_places_behind_the_axis_become_one_dimension(
    body: str, shape: str, ways: tuple[list[int], list[int]], tmp_path: Path
) -> None:
    model = net(f"a = Relu (x) b = Sub (x, a) {body.replace('(x)', '(b)')}", shape)
    made = flattened(model)
    assert [node.op_type for node in made.graph.node][2:] == [
        "Reshape",
        body.split()[2],
        "Reshape",
    ]
    stored = {
        item.name: onnx.numpy_helper.to_array(item).tolist() for item in made.graph.initializer
    }
    assert tuple(stored[node.input[1]] for node in made.graph.node[2::2]) == ways
    np.testing.assert_array_equal(
        answers(made, tmp_path / "made.onnx", SIZES), answers(model, tmp_path / "m.onnx", SIZES)
    )
    if "N" in shape or "H" in shape:
        none = tuple(0 if open_ in ("N", "H") else int(open_) for open_ in shape.split(", "))
        assert answers(made, tmp_path / "made.onnx", none).shape == none


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Softmax <axis = -1> (x)", "2, 6, 4, 5"),
        ("y = Softmax <axis = 2> (x)", "2, 6, 4, 5"),
        ("y = Softmax <axis = 1> (x)", "2, 6, 1, 1"),
        ("y = Softmax <axis = 1> (x)", "2, 6, H, W"),
        ("y = Softmax <axis = 1> (x)", "N, 6, H, 5"),
        ("y = Relu (x)", "2, 6, 4, 5"),
    ],
)
def test_where_nothing_is_gained_the_model_stays(body: str, shape: str) -> None:
    model = net(body, shape)
    assert flattened(model, tuple(1 if size == "1" else 6 for size in shape.split(", "))) is model


def test_an_older_softmax_ran_over_all_that_follows_and_stays() -> None:
    model = net("y = Softmax <axis = 1> (x)", opset=12)
    assert flattened(model) is model


def test_a_graph_that_gives_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = step._flattened

    def wrong(*arguments: object) -> list[onnx.NodeProto]:
        nodes = real(*arguments)  # type: ignore[arg-type]
        nodes[1].attribute[-1].i = 2
        return nodes

    model = net("y = Softmax <axis = 1> (x)")
    monkeypatch.setattr(step, "_flattened", wrong)
    assert flattened(model) is model


def test_an_export_flattens_the_distances_of_boxes(tmp_path: Path) -> None:
    model = net(
        "s = Constant <value = int64[4] {1, 4, 16, 20}> () a = Reshape (x, s) "
        "b = Transpose <perm = [0, 2, 1, 3]> (a) y = Softmax <axis = 1> (b)",
        "1, 64, 20",
    )
    onnx.save(model, str(tmp_path / "a.onnx"))
    done = export(tmp_path / "a.onnx", tmp_path / "out.onnx", task="tensor")
    operators = [node.op_type for node in onnx.load(str(done.output)).graph.node]
    assert operators == ["Reshape", "Transpose", "Reshape", "Softmax", "Reshape"]
    assert done.parity["outputs"]["y"]["max"] == 0
