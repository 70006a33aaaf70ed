"""Which nodes stay in float: found from the graph's shape, whatever nodes are called."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from edgeinfer.frames import Array
from edgeinfer_export.quantize.heads import float_nodes, layers_left
from edgeinfer_export.steps.clean import name_nodes

ONE = np.ones((4, 4, 1, 1), np.float32)


def graph(body: str, outputs: str, weights: dict[str, Array]) -> onnx.ModelProto:
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4, 8, 8] x)'
    model = onnx.parser.parse_model(f"{head} => ({outputs}) {{{body}}}")
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in weights.items()
    )
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def test_the_last_layer_of_every_branch_and_what_follows_stays_in_float() -> None:
    model = graph(
        """
        a = Conv (x, w)
        b = Relu (a)
        box = Conv (b, w)
        mid = Conv (b, w)
        cls = Conv (mid, w)
        prob = Sigmoid (cls)
        out = Concat <axis = 1> (box, prob)
        """,
        "float[1, 8, 8, 8] out",
        {"w": ONE},
    )
    kept = float_nodes(model, keep_last=True)
    assert kept == ("box", "cls", "prob", "out")
    assert layers_left(model, kept) == 2


def test_a_convolution_that_evaluates_a_softmax_is_part_of_the_head() -> None:
    # YOLOv8's distribution focal loss: softmax over bins, then a convolution with fixed weights.
    model = graph(
        """
        a = Conv (x, w)
        cls = Conv (a, w)
        bins = Conv (a, w)
        flat = Reshape (bins, shape)
        dist = Softmax <axis = 1> (flat)
        box = Conv (dist, dfl)
        prob = Sigmoid (cls)
        wide = Reshape (prob, row)
        out = Concat <axis = 1> (box, wide)
        """,
        "float[1, 2, 8, 32] out",
        {
            "w": ONE,
            "dfl": np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1),
            "shape": np.array([1, 4, 8, 8]),
            "row": np.array([1, 4, 8, 8]),
        },
    )
    kept = float_nodes(model, keep_last=True)
    assert set(kept) == {"cls", "bins", "flat", "dist", "box", "prob", "wide", "out"}


def test_a_classifiers_last_layer_may_be_quantized_its_softmax_not() -> None:
    model = graph(
        """
        a = Conv (x, w)
        m = GlobalAveragePool (a)
        f = Flatten (m)
        l = Gemm (f, g)
        out = Softmax (l)
        """,
        "float[1, 3] out",
        {"w": ONE, "g": np.ones((4, 3), np.float32)},
    )
    assert float_nodes(model, keep_last=False) == ("out",)
    assert float_nodes(model, keep_last=True) == ("l", "out")


def test_a_product_of_two_activations_is_no_layer() -> None:
    model = graph(
        """
        a = Conv (x, w)
        b = Conv (a, w)
        c = Conv (a, w)
        out = MatMul (b, c)
        """,
        "float[1, 4, 8, 8] out",
        {"w": ONE},
    )
    assert float_nodes(model, keep_last=True) == ("b", "c", "out")


def test_shape_arithmetic_and_shortcuts_end_at_the_input() -> None:
    model = graph(
        """
        a = Conv (x, w)
        s = Shape (x)
        b = Reshape (a, s)
        out = Add (b, x)
        """,
        "float[1, 4, 8, 8] out",
        {"w": ONE},
    )
    kept = float_nodes(model, keep_last=True)
    assert kept == ("a", "s", "b", "out")
    assert layers_left(model, kept) == 0


def test_weights_behind_constant_nodes_still_make_a_layer() -> None:
    model = graph(
        """
        c = Identity (w)
        a = Conv (x, c)
        out = Conv (a, c)
        """,
        "float[1, 4, 8, 8] out",
        {"w": ONE},
    )
    assert float_nodes(model, keep_last=True) == ("out",)


def test_nodes_without_names_get_names_of_their_own() -> None:
    model = graph("a = Relu (x) b = Relu (a) out = Relu (b)", "float[1, 4, 8, 8] out", {})
    for node, name in zip(model.graph.node, ("", "Relu_0", "Relu_0"), strict=True):
        node.name = name
    name_nodes(model)
    assert len({node.name for node in model.graph.node}) == 3
