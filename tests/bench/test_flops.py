"""Counts by hand, held against nodes that ONNX Runtime really ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.frames import Array
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers.profiling import NodeTime, TensorShape, recorded
from edgeinfer_bench.flops import flops, kernels_of, precision, unpadded

MS = "com.microsoft"
Given = tuple[str, type, tuple[int, ...]]
U8, I8, F32 = np.uint8, np.int8, np.float32


def node(op_type: str, inputs: Sequence[Sequence[int]], *outputs: Sequence[int]) -> NodeTime:
    """A node of floats that saw these shapes."""

    def shaped(shapes: Sequence[Sequence[int]]) -> tuple[TensorShape, ...]:
        return tuple(TensorShape("float", tuple(shape)) for shape in shapes)

    return NodeTime("n", 0, op_type, "cpu", 0, 1000, shaped(inputs), shaped(outputs))


def values(kind: type, shape: tuple[int, ...]) -> Array:
    """Nothing that overflows; scales and zero points among it are right as well."""
    return np.ones(shape, kind)


def run_node(
    folder: Path,
    op_type: str,
    fed: Given,
    constants: Sequence[Given | None],
    output: type,
    domain: str = "",
    attributes: Mapping[str, Any] | None = None,
) -> NodeTime:
    """Run a graph of one node: its first input is fed, the others are constants, None left out."""
    name, kind, shape = fed
    kept = [given for given in constants if given is not None]
    names = [name, *("" if given is None else given[0] for given in constants)]
    types = [helper.np_dtype_to_tensor_dtype(np.dtype(one)) for one in (kind, output)]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], "n", domain=domain, **(attributes or {}))],
        "net",
        [helper.make_tensor_value_info(name, types[0], shape)],
        [helper.make_tensor_value_info("y", types[1], None)],
        [numpy_helper.from_array(values(given[1], given[2]), given[0]) for given in kept],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    options = LoadOptions(provider="cpu", threads=1, task="tensor")
    with recorded(packed=False) as recording, open_model(path, options) as model:
        model({name: values(kind, shape)})
        profile = recording.profile()
    assert profile is not None
    ran = max(profile.nodes, key=lambda one: flops(one) or 0)
    return unpadded(ran, kernels_of(path))


def test_a_convolution_takes_its_kernel_for_every_output(tmp_path: Path) -> None:
    weights = ("w", F32, (5, 3, 3, 3))
    ran = run_node(tmp_path, "Conv", ("x", F32, (1, 3, 8, 6)), [weights], F32)
    assert flops(ran) == 2 * (5 * 6 * 4) * (3 * 3 * 3)
    assert precision(ran) == "fp32"


def test_a_convolution_in_groups_takes_its_share_of_the_channels(tmp_path: Path) -> None:
    ran = run_node(
        *(tmp_path, "Conv", ("x", F32, (1, 6, 8)), [("w", F32, (6, 1, 3))], F32),
        attributes={"group": 6, "pads": [1, 1]},
    )
    assert flops(ran) == 2 * (6 * 8) * 3


def test_a_transposed_convolution_takes_its_kernel_for_every_input(tmp_path: Path) -> None:
    weights = ("w", F32, (4, 3, 2, 2))
    fed = ("x", F32, (1, 4, 5, 7))
    ran = run_node(tmp_path, "ConvTranspose", fed, [weights], F32, "", {"strides": [2, 2]})
    assert flops(ran) == 2 * (4 * 5 * 7) * (3 * 2 * 2)


QUANTIZED: list[tuple[str, str, Given, list[Given | None], type, int]] = [
    (
        *("QLinearConv", "", ("x", U8, (1, 3, 8, 8))),
        [
            *(("xs", F32, ()), ("xz", U8, ()), ("w", I8, (5, 3, 3, 3)), ("ws", F32, ())),
            *(("wz", I8, ()), ("ys", F32, ()), ("yz", U8, ())),
        ],
        *(U8, 2 * (5 * 6 * 6) * 27),
    ),
    (
        *("ConvInteger", "", ("x", U8, (1, 3, 8, 8)), [("w", U8, (5, 3, 3, 3))]),
        *(np.int32, 2 * (5 * 6 * 6) * 27),
    ),
    (
        *("MatMulInteger", "", ("x", U8, (2, 3, 8)), [("w", I8, (8, 5))]),
        *(np.int32, 2 * (2 * 3 * 5) * 8),
    ),
    (
        *("QLinearMatMul", "", ("x", U8, (3, 8))),
        [
            *(("xs", F32, ()), ("xz", U8, ()), ("w", I8, (8, 5)), ("ws", F32, ())),
            *(("wz", I8, ()), ("ys", F32, ()), ("yz", U8, ())),
        ],
        *(U8, 2 * (3 * 5) * 8),
    ),
    (
        *("QGemm", MS, ("x", U8, (3, 8))),
        [
            *(("xs", F32, ()), ("xz", U8, ()), ("w", I8, (8, 5)), ("ws", F32, ())),
            *(("wz", I8, ()), None, ("ys", F32, ()), ("yz", U8, ())),
        ],
        *(U8, 2 * (3 * 5) * 8),
    ),
    (
        *("DynamicQuantizeMatMul", MS, ("x", F32, (3, 8))),
        [("w", I8, (8, 5)), ("ws", F32, ()), ("wz", I8, ())],
        *(F32, 2 * (3 * 5) * 8),
    ),
    (
        *("MatMulIntegerToFloat", MS, ("x", U8, (3, 8))),
        [("w", I8, (8, 5)), ("xs", F32, ()), ("ws", F32, ()), ("xz", U8, ()), ("wz", I8, ())],
        *(F32, 2 * (3 * 5) * 8),
    ),
]


@pytest.mark.parametrize(
    ("op_type", "domain", "fed", "constants", "output", "expected"),
    QUANTIZED,
    ids=[case[0] for case in QUANTIZED],
)
def test_what_is_quantized_counts_as_its_like_and_in_int8(
    tmp_path: Path,
    op_type: str,
    domain: str,
    fed: Given,
    constants: list[Given | None],
    output: type,
    expected: int,
) -> None:
    ran = run_node(tmp_path, op_type, fed, constants, output, domain)
    assert (ran.op_type, flops(ran), precision(ran)) == (op_type, expected, "int8")


@pytest.mark.parametrize(
    ("op_type", "domain", "fed", "weights", "attributes"),
    [
        ("MatMul", "", (2, 3, 8), (8, 5), {}),
        ("FusedMatMul", MS, (2, 8, 3), (8, 5), {"transA": 1, "alpha": 0.5}),
        ("Gemm", "", (3, 8), (5, 8), {"transB": 1}),
        ("Gemm", "", (8, 3), (8, 5), {"transA": 1}),
        ("FusedGemm", MS, (3, 8), (8, 5), {"activation": "Relu"}),
    ],
)
def test_a_product_takes_rows_times_columns_times_what_they_share(
    tmp_path: Path,
    op_type: str,
    domain: str,
    fed: tuple[int, ...],
    weights: tuple[int, ...],
    attributes: dict[str, Any],
) -> None:
    ran = run_node(
        *(tmp_path, op_type, ("x", F32, fed), [("w", F32, weights)], F32, domain, attributes)
    )
    batch = 2 if len(fed) == 3 else 1
    assert flops(ran) == 2 * batch * 3 * 5 * 8


def test_weights_of_four_bits_count_as_the_product_that_they_stand_for(tmp_path: Path) -> None:
    constants = [("w", U8, (5, 2, 16)), ("s", F32, (10,))]
    sizes = {"K": 64, "N": 5, "bits": 4, "block_size": 32}
    ran = run_node(tmp_path, "MatMulNBits", ("x", F32, (1, 3, 64)), [*constants], F32, MS, sizes)
    assert flops(ran) == 2 * 3 * 5 * 64


@pytest.mark.parametrize(("op_type", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_takes_both_its_weights_at_every_step(
    tmp_path: Path, op_type: str, gates: int
) -> None:
    weights = [("w", F32, (2, gates * 16, 6)), ("r", F32, (2, gates * 16, 16))]
    ran = run_node(
        *(tmp_path, op_type, ("x", F32, (7, 3, 6)), [*weights], F32, ""),
        {"hidden_size": 16, "direction": "bidirectional"},
    )
    assert flops(ran) == 2 * 7 * 3 * 2 * gates * 16 * (6 + 16)


def test_a_recurrent_layer_of_eight_bits_counts_the_same(tmp_path: Path) -> None:
    constants = [
        *(("w", I8, (1, 6, 64)), ("r", I8, (1, 16, 64)), None, None, None, None, None),
        *(("ws", F32, (1,)), ("wz", I8, (1,)), ("rs", F32, (1,)), ("rz", I8, (1,))),
    ]
    fed = ("x", F32, (7, 3, 6))
    ran = run_node(tmp_path, "DynamicQuantizeLSTM", fed, constants, F32, MS, {"hidden_size": 16})
    assert (flops(ran), precision(ran)) == (2 * 7 * 3 * 64 * (6 + 16), "int8")


def test_attention_takes_its_projection_and_two_products(tmp_path: Path) -> None:
    constants = [("w", F32, (32, 96)), ("b", F32, (96,))]
    ran = run_node(
        tmp_path, "Attention", ("x", F32, (2, 10, 32)), [*constants], F32, MS, {"num_heads": 4}
    )
    assert flops(ran) == 2 * 2 * (10 * 32 * 96 + 10 * 10 * 32 + 10 * 10 * 32)


def test_attention_on_given_queries_takes_the_two_products(tmp_path: Path) -> None:
    constants = [("k", F32, (2, 12, 32)), ("v", F32, (2, 12, 32))]
    ran = run_node(
        *(tmp_path, "MultiHeadAttention", ("x", F32, (2, 10, 32)), [*constants], F32, MS),
        {"num_heads": 4},
    )
    assert flops(ran) == 2 * 2 * (10 * 12 * 32 + 10 * 12 * 32)
    heads = node("Attention", [(1, 4, 10, 8), (1, 2, 12, 8), (1, 2, 12, 6)], (1, 4, 10, 6))
    assert flops(heads) == 2 * 4 * 10 * 12 * (8 + 6)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (node("Conv", [(1, 8, 8, 3), (5, 3, 3, 3)], (1, 6, 6, 5)), 2 * 180 * 27),  # NHWC
        (node("FusedConv", [(1, 3, 8, 8), (5, 3, 3, 3), (5,)], (1, 5, 6, 6)), 2 * 180 * 27),
        (node("MatMul", [(4,), (4, 7)], (7,)), 2 * 4 * 7),
        (node("MatMul", [(3, 4), (4,)], (3,)), 2 * 3 * 4),
        (node("MatMul", [(4,), (4,)], ()), 2 * 4),
        (node("MatMul", [(3, 4), (6, 4, 5)], (6, 3, 5)), 2 * 6 * 3 * 4 * 5),
    ],
)
def test_other_layouts_and_ranks_count_the_same(one: NodeTime, expected: int) -> None:
    assert flops(one) == expected


@pytest.mark.parametrize(
    "one",
    [
        node("Relu", [(1, 3)], (1, 3)),
        node("TRTKernel_graph_1", [(1, 3, 8, 8)], (1, 5)),
        node("Conv", [(1, 3, 8, 8)], (1, 5, 6, 6)),
        node("Conv", [(1, 3, 8, 8), (5,)], (1, 5, 6, 6)),
        node("LSTM", [(7, 3, 6), (1, 128)], (7, 1, 3, 16)),
        node("Attention", [(2, 10, 32), (32, 96), (2, 2, 4, 5, 8)], (2, 10, 32), (2, 2, 4, 15, 8)),
    ],
)
def test_what_cannot_be_counted_is_none_and_not_nothing(one: NodeTime) -> None:
    assert flops(one) is None


def test_channels_that_fill_a_block_are_no_work(tmp_path: Path) -> None:
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (1, 3, 8, 8)), ("y", (1, 5, 8, 8)))
    ]
    weights = numpy_helper.from_array(np.ones((5, 3, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "net", tensors[:1], tensors[1:], [weights])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), str(path))
    kernels = kernels_of(path)
    assert kernels == {"conv": (5, 3, 3, 3), "y": (5, 3, 3, 3)}
    blocked = node("Conv", [(1, 3, 8, 8), (8, 3, 3, 3)], (1, 8, 8, 8))
    named = NodeTime("y_nchwc", *list(vars(blocked).values())[1:])
    assert flops(blocked) == 2 * 8 * 64 * 27
    assert flops(unpadded(named, kernels)) == 2 * 5 * 64 * 27
    assert unpadded(blocked, kernels) is blocked
