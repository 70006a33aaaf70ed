"""MXNet: each operator against numbers worked out independently; damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ModelFileError, UsageError
from edgeinfer_export.sources import mxnet as reader

SHAPE = (1, 4, 9, 7)
GIVEN: dict[str, Any] = {"input_shapes": {"data": SHAPE}}


@pytest.fixture
def data(random: np.random.Generator) -> np.ndarray[Any, Any]:
    return random.uniform(-2, 2, SHAPE).astype(np.float32)


def assert_near(found: np.ndarray[Any, Any], wanted: Any) -> None:
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def floats(random: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    return random.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("form", [0, 1, 2])
@pytest.mark.parametrize("settings", ["attrs", "attr", "param"])
def test_convolution_in_every_form_of_the_files(
    opener: Any,
    mxnet: Any,
    slow: SimpleNamespace,
    random: np.random.Generator,
    data: Any,
    form: int,
    settings: str,
) -> None:
    params = {"c_weight": floats(random, 6, 2, 3, 3), "c_bias": floats(random, 6)}
    given = {
        "kernel": "(3L, 3L)",
        "stride": (2, 2),
        "pad": "[1, 1]",
        "num_filter": 6,
        "num_group": 2,
    }
    nodes = [("Convolution", "c", given, ["data", "c_weight", "c_bias"])]
    found = opener.one(mxnet(nodes, params, form=form, settings=settings), data, **GIVEN)
    wanted = slow.convolution(data, params["c_weight"], params["c_bias"], stride=2, pad=1, groups=2)
    assert_near(found, wanted)


def test_deconvolution_has_no_bias_unless_it_says_so(
    opener: Any, mxnet: Any, slow: SimpleNamespace, random: np.random.Generator, data: Any
) -> None:
    params = {"w": floats(random, 4, 5, 4, 4)}
    given = {"kernel": (4, 4), "stride": (2, 2), "pad": (1, 1), "num_filter": 5}
    path = mxnet([("Deconvolution", "d", given, ["data", "w"])], params)
    assert_near(opener.one(path, data, **GIVEN), slow.deconvolution(data, params["w"], 2, 1))


@pytest.mark.parametrize("fixed", [True, False])
def test_batch_norm_ignores_gamma_where_it_is_fixed(
    opener: Any, mxnet: Any, random: np.random.Generator, data: Any, fixed: bool
) -> None:
    names = ["g", "b", "m", "v"]
    params = {name: random.uniform(0.5, 2, 4).astype(np.float32) for name in names}
    given = {"fix_gamma": fixed, "eps": "0.01"}
    found = opener.one(mxnet([("BatchNorm", "n", given, ["data", *names])], params), data, **GIVEN)
    g, b, m, v = (params[name][:, None, None] for name in names)
    assert_near(found, (data - m) / np.sqrt(v + 0.01) * (1 if fixed else g) + b)


@pytest.mark.parametrize("kind", ["max", "padded", "valid"])
@pytest.mark.parametrize(
    ("convention", "kernel", "pad", "out"),
    [
        ("valid", 3, 1, (5, 4)),
        ("full", 2, 0, (5, 4)),
        ("valid", 2, 0, (4, 3)),
        ("full", 3, 0, (4, 3)),
    ],
)
def test_pooling_rounds_by_its_convention(
    opener: Any,
    mxnet: Any,
    slow: SimpleNamespace,
    data: Any,
    convention: str,
    kernel: int,
    pad: int,
    out: tuple[int, int],
    kind: str,
) -> None:
    given = {
        "kernel": (kernel, kernel),
        "stride": (2, 2),
        "pad": (pad, pad),
        "pool_type": "max" if kind == "max" else "avg",
        "pooling_convention": convention,
        "count_include_pad": kind == "padded",
    }
    found = opener.one(mxnet([("Pooling", "p", given, ["data"])]), data, **GIVEN)
    assert_near(found, slow.pool(data, kernel, 2, pad, out, "" if kind == "max" else kind))


def test_fully_connected_flattens_unless_it_says_no(
    opener: Any, mxnet: Any, random: np.random.Generator, data: Any
) -> None:
    params = {"w": floats(random, 5, 252), "b": floats(random, 5)}
    path = mxnet([("FullyConnected", "f", {"num_hidden": 5}, ["data", "w", "b"])], params)
    assert_near(opener.one(path, data, **GIVEN), data.reshape(1, -1) @ params["w"].T + params["b"])
    params = {"w": floats(random, 5, 7)}
    given = {"num_hidden": 5, "flatten": False, "no_bias": True}
    path = mxnet([("FullyConnected", "f", given, ["data", "w"])], params)
    assert_near(opener.one(path, data, **GIVEN), data @ params["w"].T)


OPERATORS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "relu": ("Activation", {"act_type": "relu"}, lambda x: np.maximum(x, 0)),
    "softrelu": ("Activation", {"act_type": "softrelu"}, lambda x: np.log1p(np.exp(x))),
    "leaky": ("LeakyReLU", {"slope": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
    "elu": (
        "LeakyReLU",
        {"act_type": "elu", "slope": 2},
        lambda x: np.where(x > 0, x, 2 * np.expm1(x)),
    ),
    "softmax": ("softmax", {"axis": "1"}, lambda x: soft(x, 1)),
    "log_softmax": ("log_softmax", {}, lambda x: np.log(soft(x, -1))),
    "channel": ("SoftmaxActivation", {"mode": "channel"}, lambda x: soft(x, 1)),
    "instance": ("SoftmaxActivation", {}, lambda x: soft(x, -1)),
    "output": ("SoftmaxOutput", {}, lambda x: soft(x.reshape(1, -1), 1).reshape(x.shape)),
    # The mean of 0.125 and 0.334, which a file does not name.
    "rrelu": ("LeakyReLU", {"act_type": "rrelu"}, lambda x: np.where(x > 0, x, 0.2295 * x)),
    "dropout": ("Dropout", {"p": 0.5}, lambda x: x),
    "flatten": ("Flatten", {}, lambda x: x.reshape(1, -1)),
    "reshape": ("Reshape", {"shape": (0, -1, 7)}, lambda x: x.reshape(1, 36, 7)),
    "reshape -3": ("Reshape", {"shape": (0, -3, -2)}, lambda x: x.reshape(1, 36, 7)),
    "reshape -4": ("Reshape", {"shape": (0, -4, 2, -1, -2)}, lambda x: x.reshape(1, 2, 2, 9, 7)),
    "transpose": ("transpose", {"axes": (0, 2, 3, 1)}, lambda x: x.transpose(0, 2, 3, 1)),
    "swapaxes": ("SwapAxis", {"dim1": 1, "dim2": 3}, lambda x: x.swapaxes(1, 3)),
    "slice_axis": ("slice_axis", {"axis": -1, "begin": 1, "end": "None"}, lambda x: x[..., 1:]),
    "slice": ("slice", {"begin": "(None, 1)", "end": "(None, 3)"}, lambda x: x[:, 1:3]),
    "clip": ("clip", {"a_min": -1, "a_max": 0.5}, lambda x: np.clip(x, -1, 0.5)),
    "mean": ("mean", {"axis": (2, 3), "keepdims": True}, lambda x: x.mean((2, 3), keepdims=True)),
    "sum": ("sum", {"axis": 1, "exclude": True}, lambda x: x.sum((0, 2, 3))),
    "sum of all": ("sum", {}, lambda x: x.sum().reshape(1)),
    "plus": ("_plus_scalar", {"scalar": "2"}, lambda x: x + 2),
    "rminus": ("_rminus_scalar", {"scalar": "2"}, lambda x: 2 - x),
    "upsampling": (
        "UpSampling",
        {"scale": 2, "sample_type": "nearest"},
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "pad": (
        "Pad",
        {"mode": "edge", "pad_width": (0, 0, 0, 0, 1, 2, 0, 3)},
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)), "edge"),
    ),
    "l2": (
        "L2Normalization",
        {"mode": "channel"},
        lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
    ),
    "crop": ("Crop", {"h_w": (4, 3), "offset": (2, 1)}, lambda x: x[:, :, 2:6, 1:4]),
    "expand": ("expand_dims", {"axis": 1}, lambda x: x[:, None]),
    "square": ("square", {}, lambda x: x * x),
}


def soft(x: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    return np.asarray(np.exp(x) / np.exp(x).sum(axis, keepdims=True))


@pytest.mark.parametrize("case", OPERATORS)
def test_operators_without_parameters(opener: Any, mxnet: Any, data: Any, case: str) -> None:
    op, given, wanted = OPERATORS[case]
    found = opener.one(mxnet([(op, "n", given, ["data"])]), data, **GIVEN)
    assert_near(found, wanted(data.astype(np.float64)))


def test_operators_of_two_tensors(opener: Any, mxnet: Any, data: Any) -> None:
    twice = ("_mul_scalar", "twice", {"scalar": 2}, ["data"])
    cases = {
        "elemwise_add": 3 * data,
        "_Minus": -data,
        "broadcast_mul": 2 * data**2,
        "_maximum": np.maximum(data, 2 * data),
        "Concat": np.concatenate((data, 2 * data), 1),
        "add_n": 3 * data,
        "stack": np.stack((data, 2 * data), 0),
    }
    for op, wanted in cases.items():
        nodes = [twice, (op, "n", {}, ["data", "twice"])]
        assert_near(opener.one(mxnet(nodes), data, **GIVEN), wanted)


def test_outputs_of_a_split_are_told_apart(opener: Any, mxnet: Any, data: Any) -> None:
    nodes = [
        ("SliceChannel", "s", {"num_outputs": 2}, ["data"]),
        ("_plus_scalar", "p", {"scalar": 1}, ["s/1"]),
    ]
    assert_near(opener.one(mxnet(nodes), data, **GIVEN), data[:, 2:] + 1)
    both = mxnet(nodes[:1], heads=[("s", 0), ("s", 1)])
    found = opener.run(both, {"data": data}, **GIVEN)
    assert_near(np.concatenate(list(found.values()), 1), data)


def test_labels_are_no_inputs(opener: Any, mxnet: Any, data: Any) -> None:
    nodes = [
        ("Flatten", "f", {}, ["data"]),
        ("SoftmaxOutput", "softmax", {}, ["f", "softmax_label"]),
    ]
    assert_near(
        opener.one(mxnet(nodes), data, **GIVEN), soft(data.reshape(1, -1).astype(np.float64), 1)
    )


def test_anchors_lie_around_the_middle_of_each_cell(opener: Any, mxnet: Any, data: Any) -> None:
    given = {"sizes": "(0.3, 0.4)", "ratios": "(1, 4)"}
    found = opener.run(
        mxnet(
            [
                ("_contrib_MultiBoxPrior", "a", given, ["data"]),
                ("Concat", "both", {"dim": 1}, ["a", "a"]),
            ]
            + [("slice_like", "x", {"axes": "(3,)"}, ["data", "data"])],
            heads=[("both", 0), ("x", 0)],
        ),
        data,
        **GIVEN,
    )["both"]
    wanted = []
    for y in range(9):
        for x in range(7):
            for size, ratio in ((0.3, 1), (0.4, 1), (0.3, 4)):
                w, h = size * 9 / 7 * ratio**0.5 / 2, size / ratio**0.5 / 2
                cx, cy = (x + 0.5) / 7, (y + 0.5) / 9
                wanted.append((cx - w, cy - h, cx + w, cy + h))
    assert_near(found, np.array([wanted + wanted]))


def test_a_detector_ends_in_boxes_in_pixels(opener: Any, mxnet: Any) -> None:
    # Scores of the background and two classes come straight out of the picture.
    nodes = [
        ("_contrib_MultiBoxPrior", "a", {"sizes": "(0.5,)"}, ["data"]),
        ("Reshape", "r", {"shape": "(0, 3, -1)"}, ["data"]),
        ("softmax", "scores", {"axis": 1}, ["r"]),
        ("_mul_scalar", "z", {"scalar": 0}, ["data"]),
        ("Concat", "more", {"dim": 1}, ["z", "data"]),
        ("slice_axis", "four", {"axis": 1, "begin": 0, "end": 4}, ["more"]),
        ("_mul_scalar", "none", {"scalar": 0}, ["four"]),
        ("Flatten", "boxes", {}, ["none"]),
        ("_contrib_MultiBoxDetection", "det", {"threshold": 0.5}, ["scores", "boxes", "a"]),
    ]
    picture = np.zeros((1, 3, 2, 2), np.float32)
    picture[0, 1, 0, 0] = 5  # class 0, top left
    picture[0, 2, 1, 1] = 4  # class 1, bottom right
    found = opener.one(mxnet(nodes), picture, input_shapes={"data": picture.shape})
    best, second = np.exp(5) / (np.exp(5) + 2), np.exp(4) / (np.exp(4) + 2)
    assert_near(found[0, :2], [[0, 0, 1, 1, best, 0], [1, 1, 2, 2, second, 1]])
    assert not found[0, 2:].any()


def test_shapes_of_inputs_come_from_the_user_or_the_symbol(
    opener: Any, mxnet: Any, data: Any
) -> None:
    path = mxnet([("square", "n", {}, ["data"])])
    with pytest.raises(UsageError, match="--input-shape data:1x3x224x224"):
        opener.source(path)
    symbol = json.loads(path.read_text())
    symbol["nodes"][0]["attrs"] = {"__shape__": "(8, 4, 9, 7)"}
    path.write_text(json.dumps(symbol))
    assert_near(opener.one(path, data), data * data)


def test_the_parameters_of_the_last_epoch_are_taken(
    opener: Any, mxnet: Any, tmp_path: Path, data: Any
) -> None:
    nodes = [("broadcast_mul", "n", {}, ["data", "factor"])]
    path = mxnet(nodes, {"factor": np.array([[[[2.0]]]], np.float32)})
    (tmp_path / "net-0003.params").rename(tmp_path / "net-0020.params")
    mxnet(nodes, {"factor": np.array([[[[7.0]]]], np.float32)})
    assert_near(opener.one(path, data, **GIVEN), 2 * data)
    assert_near(opener.one(tmp_path / "net-0003.params", data, **GIVEN), 7 * data)


KERAS = {
    "class_name": "Model",
    "config": {
        "input_layers": [["x", 0, 0]],
        "output_layers": [["a2", 0, 0], ["b2", 0, 0]],
        "layers": [],
    },
}


def keras_layer(kind: str, name: str, before: str | None, **config: Any) -> dict[str, Any]:
    inbound = [[[before, 0, 0, {}]]] if before else []
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": inbound,
    }


def test_parameters_beside_an_architecture_of_keras_are_matched_by_shape_and_order(
    opener: Any, mxnet: Any, slow: SimpleNamespace, random: np.random.Generator, tmp_path: Path
) -> None:
    plain = {"kernel_size": [1, 1], "strides": [1, 1], "padding": "same", "use_bias": False}
    layers = [keras_layer("InputLayer", "x", None, batch_input_shape=[None, 5, 5, 2])]
    # Two branches of the same shapes: the first in the file is the first in the network.
    for name in "ab":
        layers += [
            keras_layer("Conv2D", f"{name}1", "x", filters=3, **plain),
            keras_layer("BatchNormalization", f"{name}n", f"{name}1"),
            keras_layer("Activation", f"{name}r", f"{name}n", activation="relu"),
            keras_layer(
                "MaxPooling2D",
                f"{name}p",
                f"{name}r",
                pool_size=[2, 2],
                strides=[2, 2],
                padding="same",
            ),
            keras_layer("Conv2D", f"{name}c", f"{name}p", filters=4, **plain),
            keras_layer("Reshape", f"{name}2", f"{name}c", target_shape=[-1, 2]),
        ]
    KERAS["config"]["layers"] = layers  # type: ignore[index]
    params = {}
    for name in ("left.0", "left.1", "right.0", "right.1"):
        out, into = (3, 2) if name.endswith("0") else (4, 3)
        params[f"{name}.weight"] = floats(random, out, into, 1, 1)
        params[f"{name}.bias"] = floats(random, out)
    path = mxnet([("square", "n", {}, ["data"])], params)
    path.write_text(json.dumps(KERAS))
    data = floats(random, 1, 2, 5, 5)
    found = opener.run(path, {"x": data})
    for name, branch in (("a2", "left"), ("b2", "right")):
        own = [params[f"{branch}.{i}.{part}"] for i in (0, 1) for part in ("weight", "bias")]
        value = np.maximum(slow.convolution(data, own[0], own[1]), 0)
        value = slow.convolution(slow.pool(value, 2, 2, 0, (3, 3)), own[2], own[3])
        assert_near(found[name], value.transpose(0, 2, 3, 1).reshape(1, -1, 2))
    del params["right.1.weight"], params["right.1.bias"]
    mxnet([("square", "n", {}, ["data"])], params)
    path.write_text(json.dumps(KERAS))
    with pytest.raises(
        ModelFileError, match="4 layers with weights, the file has parameters for 3"
    ):
        opener.source(path)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [("Custom", "mine", {}, ["data"])],
            "node 'mine' .number 1, operator Custom.*Supported: Activation",
        ),
        ([("Convolution", "c", {"kernel": (3, 3)}, ["data", "c_weight"])], "no value for it"),
        ([("Convolution", "c", {"kernel": "(3,"}, ["data", "w"])], r"kernel is '\(3,'"),
        (
            [("Convolution", "c", {"kernel": "(3,3)", "no_bias": 1}, ["data", "w"])],
            "its weights are",
        ),
        ([("Reshape", "r", {"shape": (5, -1)}, ["data"])], "does not become"),
        ([("Reshape", "r", {"shape": (-3, -3, -3)}, ["data"])], "does not become"),
        (
            [("UpSampling", "u", {"scale": 100000, "sample_type": "nearest"}, ["data"])],
            "scale is 100000",
        ),
        ([("square", "s", {}, ["b"]), ("square", "b", {}, ["s"])], None),
        ([("Pooling", "p", {"kernel": (50, 50)}, ["data"])], "its window is too big"),
        ([("transpose", "t", {"axes": (0, 0, 1, 1)}, ["data"])], "none of 4 dimensions"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    opener: Any, mxnet: Any, nodes: Any, said: str | None
) -> None:
    path = mxnet(nodes, {"w": np.zeros((2, 4, 5, 5), np.float32)})
    if said is None:
        symbol = json.loads(path.read_text())
        symbol["nodes"][1]["inputs"] = [[2, 0, 0]]
        path.write_text(json.dumps(symbol))
        said = "which does not come before it: the graph has a circle"
    with pytest.raises(ModelFileError, match=said):
        opener.source(path, **GIVEN)


def test_a_head_that_does_not_exist_is_refused(opener: Any, mxnet: Any) -> None:
    path = mxnet([("square", "n", {}, ["data"])], heads=[("n", 3)])
    with pytest.raises(ModelFileError, match="its head 3 of 'n' does not exist"):
        opener.source(path, **GIVEN)


def test_one_file_without_the_other_is_refused(opener: Any, mxnet: Any, tmp_path: Path) -> None:
    path = mxnet([("square", "n", {}, ["data"])])
    params = tmp_path / "net-0003.params"
    assert reader.recognizes(path)
    assert reader.recognizes(params)
    content = params.read_bytes()
    params.unlink()
    with pytest.raises(ModelFileError, match="file of parameters is not beside it"):
        opener.source(path)
    params.write_bytes(content)
    path.unlink()
    with pytest.raises(ModelFileError, match="the symbol is not beside it"):
        opener.source(params)


def test_every_cut_of_the_files_is_refused(
    opener: Any, mxnet: Any, tmp_path: Path, random: np.random.Generator
) -> None:
    params = {"w": floats(random, 2, 4, 3, 3), "b": floats(random, 2)}
    given = {"kernel": (3, 3), "num_filter": 2}
    path = mxnet([("Convolution", "c", given, ["data", "w", "b"])], params)
    for file, step in ((tmp_path / "net-0003.params", 7), (path, 11)):
        content = file.read_bytes()
        for end in range(0, len(content), step):
            file.write_bytes(content[:end])
            with pytest.raises(ModelFileError):
                opener.source(path, **GIVEN)
        file.write_bytes(content)
    assert opener.source(path, **GIVEN)


def test_noise_in_the_parameters_never_crashes(
    opener: Any, mxnet: Any, tmp_path: Path, random: np.random.Generator
) -> None:
    path = mxnet([("broadcast_mul", "n", {}, ["data", "w"])], {"w": floats(random, 1, 4, 1, 1)})
    file = tmp_path / "net-0003.params"
    content = np.frombuffer(file.read_bytes(), np.uint8)
    refused = 0
    for _ in range(100):
        damaged = content.copy()
        damaged[random.integers(0, len(content), 3)] = random.integers(0, 256, 3)
        file.write_bytes(damaged.tobytes())
        refused += opener.refuses(path, **GIVEN)
    assert refused


def test_sparse_parameters_are_refused(opener: Any, mxnet: Any, tmp_path: Path) -> None:
    path = mxnet(
        [("broadcast_mul", "n", {}, ["data", "w"])], {"w": np.zeros((1, 4, 1, 1), np.float32)}
    )
    file = tmp_path / "net-0003.params"
    content = bytearray(file.read_bytes())
    content[28] = 1
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match="array 0 is sparse"):
        opener.source(path, **GIVEN)
