"""Paddle: each operator against numbers worked out independently; damaged files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ModelFileError, UsageError
from edgeinfer_export.sources import paddle as reader

SHAPE = (1, 4, 9, 7)
OPEN = (-1, 4, 9, 7)


@pytest.fixture
def data(random: np.random.Generator) -> np.ndarray[Any, Any]:
    return random.uniform(-2, 2, SHAPE).astype(np.float32)


def assert_near(found: np.ndarray[Any, Any], wanted: Any) -> None:
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def floats(random: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    return random.normal(size=shape).astype(np.float32)


def step(kind: str, **settings: Any) -> tuple[str, Any, Any, dict[str, Any]]:
    """An operator from x to y."""
    return kind, {"X": ["x"]}, {"Out": ["y"]}, settings


def convolution(**settings: Any) -> tuple[str, Any, Any, dict[str, Any]]:
    return "conv2d", {"Input": ["x"], "Filter": ["w"]}, {"Output": ["y"]}, settings


@pytest.mark.parametrize(
    ("separate", "names"),
    [
        (False, ("__model__", "__params__")),
        (False, ("inference.pdmodel", "inference.pdiparams")),
        (True, ("__model__", "")),
    ],
)
def test_convolution_in_every_form_of_the_files(
    opener: Any,
    paddle: Any,
    slow: SimpleNamespace,
    random: np.random.Generator,
    data: Any,
    separate: bool,
    names: tuple[str, str],
) -> None:
    params = {"w": floats(random, 6, 2, 3, 3), "a_bias": floats(random, 6)}
    operators = [
        (
            "conv2d",
            {"Input": ["x"], "Filter": ["w"]},
            {"Output": ["c"]},
            {"strides": [2, 2], "paddings": [1, 1], "dilations": [1, 1], "groups": 2},
        ),
        ("elementwise_add", {"X": ["c"], "Y": ["a_bias"]}, {"Out": ["y"]}, {"axis": 1}),
    ]
    folder = paddle(operators, OPEN, params, separate, names)
    wanted = slow.convolution(data, params["w"], params["a_bias"], stride=2, pad=1, groups=2)
    for path in (folder, folder / names[0]):
        assert_near(opener.one(path, data), wanted)
    assert reader.recognizes(folder)
    assert reader.recognizes(folder / names[0])
    if not separate:
        assert reader.recognizes(folder / names[1])
        assert_near(opener.one(folder / names[1], data), wanted)


def test_padding_may_be_named_or_given_for_each_side(
    opener: Any, paddle: Any, slow: SimpleNamespace, random: np.random.Generator, data: Any
) -> None:
    params = {"w": floats(random, 6, 4, 3, 3)}
    none = np.zeros(6)
    path = paddle([convolution(padding_algorithm="SAME", strides=[1, 1])], OPEN, params)
    assert_near(opener.one(path, data), slow.convolution(data, params["w"], none, pad=1))
    path = paddle([convolution(padding_algorithm="VALID", paddings=[5, 5])], OPEN, params)
    assert_near(opener.one(path, data), slow.convolution(data, params["w"], none))
    path = paddle([convolution(paddings=[0, 1, 2, 0])], OPEN, params)
    padded = np.pad(data, ((0, 0), (0, 0), (0, 1), (2, 0)))
    assert_near(opener.one(path, data), slow.convolution(padded, params["w"], none))


def test_transposed_convolution(
    opener: Any, paddle: Any, slow: SimpleNamespace, random: np.random.Generator, data: Any
) -> None:
    params = {"w": floats(random, 4, 5, 4, 4)}
    kind, inputs, outputs, _ = convolution()
    settings = {"strides": [2, 2], "paddings": [1, 1]}
    path = paddle([(f"{kind}_transpose", inputs, outputs, settings)], OPEN, params)
    assert_near(opener.one(path, data), slow.deconvolution(data, params["w"], 2, 1))


def test_batch_norm(opener: Any, paddle: Any, random: np.random.Generator, data: Any) -> None:
    names = {"Scale": "s", "Bias": "b", "Mean": "m", "Variance": "v"}
    params = {name: random.uniform(0.5, 2, 4).astype(np.float32) for name in names.values()}
    inputs = {"X": ["x"], **{key: [name] for key, name in names.items()}}
    path = paddle([("batch_norm", inputs, {"Y": ["y"]}, {"epsilon": 0.01})], OPEN, params)
    s, b, m, v = (params[name][:, None, None] for name in "sbmv")
    assert_near(opener.one(path, data), (data - m) / np.sqrt(v + 0.01) * s + b)


@pytest.mark.parametrize("kind", ["max", "valid", "padded"])
@pytest.mark.parametrize(
    ("ceil", "kernel", "pad", "out"),
    [(False, 3, 1, (5, 4)), (True, 2, 0, (5, 4)), (False, 2, 0, (4, 3)), (True, 3, 0, (4, 3))],
)
def test_pooling(
    opener: Any,
    paddle: Any,
    slow: SimpleNamespace,
    data: Any,
    ceil: bool,
    kernel: int,
    pad: int,
    out: tuple[int, int],
    kind: str,
) -> None:
    given = {
        "pooling_type": "max" if kind == "max" else "avg",
        "ksize": [kernel, kernel],
        "strides": [2, 2],
        "paddings": [pad, pad],
        "ceil_mode": ceil,
        "exclusive": kind == "valid",
    }
    found = opener.one(paddle([step("pool2d", **given)], OPEN), data)
    assert_near(found, slow.pool(data, kernel, 2, pad, out, "" if kind == "max" else kind))


def test_adaptive_pooling_to_sizes_that_divide(opener: Any, paddle: Any, data: Any) -> None:
    given = {"pooling_type": "avg", "ksize": [3, 7], "adaptive": True}
    found = opener.one(paddle([step("pool2d", **given)], OPEN), data)
    assert_near(found, data.reshape(1, 4, 3, 3, 7).mean(3))
    found = opener.one(paddle([step("pool2d", **{**given, "ksize": [1, 1]})], OPEN), data)
    assert_near(found, data.mean((2, 3), keepdims=True))


def test_fully_connected_layers_of_all_times(
    opener: Any, paddle: Any, random: np.random.Generator, data: Any
) -> None:
    params = {"w": floats(random, 252, 5), "b": floats(random, 5)}
    wanted = data.reshape(1, -1) @ params["w"]
    both = {"X": ["x"], "Y": ["w"]}
    given = {"x_num_col_dims": 1, "y_num_col_dims": 1}
    assert_near(
        opener.one(paddle([("mul", both, {"Out": ["y"]}, given)], OPEN, params), data), wanted
    )
    inputs = {"Input": ["x"], "W": ["w"], "Bias": ["b"]}
    given = {"in_num_col_dims": 1, "activation_type": "relu"}
    path = paddle([("fc", inputs, {"Out": ["y"]}, given)], OPEN, params)
    assert_near(opener.one(path, data), np.maximum(wanted + params["b"], 0))
    params = {"w": floats(random, 5, 7)}
    path = paddle([("matmul_v2", both, {"Out": ["y"]}, {"trans_y": True})], OPEN, params)
    assert_near(opener.one(path, data), data @ params["w"].T)


OPERATORS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "relu6": ("relu6", {"threshold": 6.0}, lambda x: np.clip(x, 0, 6)),
    "hard_swish": ("hard_swish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "hard_sigmoid": ("hard_sigmoid", {"slope": 0.25}, lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
    "swish": ("swish", {"beta": 2.0}, lambda x: x / (1 + np.exp(-2 * x))),
    "leaky_relu": ("leaky_relu", {"alpha": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
    "softplus": (
        "softplus",
        {"beta": 2.0, "threshold": 1.0},
        lambda x: np.where(2 * x > 1, x, np.log1p(np.exp(2 * x)) / 2),
    ),
    "scale": ("scale", {"scale": 2.0, "bias": 1.0}, lambda x: 2 * x + 1),
    "scale first": (
        "scale",
        {"scale": 2.0, "bias": 1.0, "bias_after_scale": False},
        lambda x: 2 * (x + 1),
    ),
    "dropout of fluid": ("dropout", {"dropout_prob": 0.25}, lambda x: 0.75 * x),
    "dropout": ("dropout", {"dropout_implementation": "upscale_in_train"}, lambda x: x),
    "softmax": ("softmax", {"axis": 1}, lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "clip": ("clip", {"min": -1.0, "max": 0.5}, lambda x: np.clip(x, -1, 0.5)),
    "reduce_mean": ("reduce_mean", {"dim": [2, 3]}, lambda x: x.mean((2, 3))),
    "reduce_max": (
        "reduce_max",
        {"dim": [-1], "keep_dim": True},
        lambda x: x.max(3, keepdims=True),
    ),
    "reshape": ("reshape2", {"shape": [0, -1, 7]}, lambda x: x.reshape(1, 36, 7)),
    "transpose": ("transpose2", {"axis": [0, 2, 3, 1]}, lambda x: x.transpose(0, 2, 3, 1)),
    "flatten": ("flatten2", {"axis": 2}, lambda x: x.reshape(4, 63)),
    "flatten range": (
        "flatten_contiguous_range",
        {"start_axis": 1, "stop_axis": 2},
        lambda x: x.reshape(1, 36, 7),
    ),
    "unsqueeze": ("unsqueeze2", {"axes": [1, 3]}, lambda x: x.reshape(1, 1, 4, 1, 9, 7)),
    "squeeze": ("squeeze2", {"axes": [0]}, lambda x: x[0]),
    "nearest": (
        "nearest_interp_v2",
        {"scale": [2.0, 2.0], "align_corners": False},
        lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
    "pad2d": (
        "pad2d",
        {"paddings": [1, 2, 0, 3], "mode": "edge"},
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)), "edge"),
    ),
    "pixel_shuffle": (
        "pixel_shuffle",
        {"upscale_factor": 2},
        lambda x: x.reshape(1, 1, 2, 2, 9, 7).transpose(0, 1, 4, 2, 5, 3).reshape(1, 1, 18, 14),
    ),
    "shuffle": ("shuffle_channel", {"group": 2}, lambda x: x[:, [0, 2, 1, 3]]),
    "norm": ("norm", {"axis": 1}, lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)),
    "arg_max": ("arg_max", {"axis": 1}, lambda x: x.argmax(1)),
}


@pytest.mark.parametrize("case", OPERATORS)
def test_operators_without_parameters(opener: Any, paddle: Any, data: Any, case: str) -> None:
    kind, given, wanted = OPERATORS[case]
    found = opener.one(paddle([step(kind, **given)], OPEN), data)
    assert_near(found, wanted(data.astype(np.float64)))


@pytest.mark.parametrize(
    ("start", "end", "wanted"), [(2**31 - 1, -1, slice(None, None, -1)), (-2, 1, slice(-2, 1, -1))]
)
def test_slices_may_go_backwards(
    opener: Any, paddle: Any, data: Any, start: int, end: int, wanted: slice
) -> None:
    given = {"axes": [2], "starts": [start], "ends": [end], "strides": [-1]}
    path = paddle([("strided_slice", {"Input": ["x"]}, {"Out": ["y"]}, given)], OPEN)
    assert_near(opener.one(path, data), data[:, :, wanted])


def test_shapes_may_be_computed_by_the_program(opener: Any, paddle: Any, data: Any) -> None:
    operators = [
        ("shape", {"Input": ["x"]}, {"Out": ["s"]}, {}),
        ("slice", {"Input": ["s"]}, {"Out": ["n"]}, {"axes": [0], "starts": [0], "ends": [1]}),
        ("fill_constant", {}, {"Out": ["rest"]}, {"shape": [1], "value": -1.0, "dtype": 3}),
        ("concat", {"X": ["n", "rest"]}, {"Out": ["wanted"]}, {"axis": 0}),
        ("reshape2", {"X": ["x"], "Shape": ["wanted"]}, {"Out": ["y"]}, {"shape": [7]}),
    ]
    assert_near(opener.one(paddle(operators, OPEN), data), data.reshape(1, -1))


def test_operators_nobody_asks_for_are_left_out(opener: Any, paddle: Any, data: Any) -> None:
    strange = ("mystery", {"X": ["x"]}, {"Out": ["unused"]}, {})
    assert_near(opener.one(paddle([strange, step("square")], OPEN), data), data**2)


def test_a_detector_ends_in_boxes_in_pixels(opener: Any, paddle: Any) -> None:
    def cell(kind: str, inputs: Any, outputs: Any, **given: Any) -> tuple[str, Any, Any, Any]:
        return kind, inputs, outputs, given

    anchors = {"min_sizes": [1.0], "aspect_ratios": [1.0], "variances": [0.1, 0.1, 0.2, 0.2]}
    operators = [
        cell(
            "prior_box",
            {"Input": ["x"], "Image": ["x"]},
            {"Boxes": ["p"], "Variances": ["v"]},
            **anchors,
        ),
        cell("reshape2", {"X": ["p"]}, {"Out": ["p2"]}, shape=[-1, 4]),
        cell("reshape2", {"X": ["v"]}, {"Out": ["v2"]}, shape=[-1, 4]),
        cell("reshape2", {"X": ["x"]}, {"Out": ["r"]}, shape=[0, 3, -1]),
        cell("softmax", {"X": ["r"]}, {"Out": ["scores"]}, axis=1),
        cell("fill_constant", {}, {"Out": ["still"]}, shape=[1, 4, 4], value=0.0, dtype=5),
        cell(
            "box_coder",
            {"PriorBox": ["p2"], "PriorBoxVar": ["v2"], "TargetBox": ["still"]},
            {"OutputBox": ["boxes"]},
            code_type="decode_center_size",
        ),
        cell(
            "multiclass_nms2",
            {"BBoxes": ["boxes"], "Scores": ["scores"]},
            {"Out": ["y"], "Index": ["i"]},
            background_label=0,
            score_threshold=0.5,
            nms_threshold=0.5,
            keep_top_k=3,
        ),
    ]
    picture = np.zeros((1, 3, 2, 2), np.float32)
    picture[0, 1, 0, 0] = 5  # class 1, top left
    picture[0, 2, 1, 1] = 4  # class 2, bottom right
    found = opener.one(paddle(operators, (-1, 3, 2, 2)), picture)
    best, second = np.exp(5) / (np.exp(5) + 2), np.exp(4) / (np.exp(4) + 2)
    assert_near(found[0], [[0, 0, 1, 1, best, 1], [1, 1, 2, 2, second, 2], [0] * 6])


def test_yolo_boxes_are_in_pixels_of_the_input(
    opener: Any, paddle: Any, random: np.random.Generator
) -> None:
    given = {"anchors": [10, 14, 23, 27], "class_num": 2, "downsample_ratio": 32}
    given |= {"conf_thresh": 0.3, "clip_bbox": False}
    box = ("yolo_box", {"X": ["x"], "ImgSize": ["x"]}, {"Boxes": ["y"], "Scores": ["z"]}, given)
    raw = floats(random, 1, 14, 2, 3)
    found = opener.run(paddle([box], (-1, 14, 2, 3), outputs=["y", "z"]), raw)
    maps = raw.astype(np.float64).reshape(2, 7, 2, 3)
    boxes, scores = [], []
    for (aw, ah), values in zip(((10, 14), (23, 27)), maps, strict=True):
        for y in range(2):
            for x in range(3):
                tx, ty, tw, th, sure, *classes = values[:, y, x]
                sure = 1 / (1 + np.exp(-sure))
                cx, cy = (1 / (1 + np.exp(-tx)) + x) * 32, (1 / (1 + np.exp(-ty)) + y) * 32
                w, h = np.exp(tw) * aw / 2, np.exp(th) * ah / 2
                passed = sure >= 0.3
                boxes.append(np.array([cx - w, cy - h, cx + w, cy + h]) * passed)
                scores.append(sure / (1 + np.exp(-np.array(classes))) * passed)
    assert_near(found["y"], np.array([boxes]))
    assert_near(found["z"], np.array([scores]))


def test_open_sizes_are_asked_for(opener: Any, paddle: Any, data: Any) -> None:
    path = paddle([step("square")], (-1, 4, -1, -1))
    with pytest.raises(UsageError, match="--input-shape x:1x3x224x224"):
        opener.source(path)
    assert_near(opener.one(path, data, input_shapes={"x": SHAPE}), data**2)


BAD = {"w": np.zeros((2, 3, 3, 3), np.float32)}


@pytest.mark.parametrize(
    ("operators", "params", "said"),
    [
        ([step("while")], {}, r"__model__, operator 1 \(while, which makes 'y'\).*Supported: abs"),
        ([convolution()], BAD, "its weights are .2, 3, 3, 3. in 1 groups"),
        ([("square", {"X": ["later"]}, {"Out": ["y"]}, {})], {}, "reads 'later'"),
        ([("square", {"X": ["y"]}, {"Out": ["y"]}, {})], {}, "reads 'y'"),
        ([("relu", {"X": ["x", "x"]}, {"Out": ["y"]}, {})], {}, "2 inputs X, and needs one"),
        ([step("reshape2", shape=[5, -1])], {}, "does not become"),
        ([step("scale", scale="two")], {}, "scale is two, not a number"),
        ([step("transpose2", axis=[0, 0, 1, 1])], {}, "none of 4 dimensions"),
        ([step("nearest_interp", out_h=2000000, out_w=2000000)], {}, "more than any real network"),
        ([step("pool2d", ksize=[50, 50])], {}, "its window is too big"),
        (
            [("square", {"X": ["x"]}, {"Out": ["z"]}, {})],
            {},
            "fetches 'y', which no operator makes",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    opener: Any, paddle: Any, operators: Any, params: Any, said: str
) -> None:
    with pytest.raises(ModelFileError, match=said):
        opener.source(paddle(operators, OPEN, params))


def test_parameters_of_another_program_are_refused(opener: Any, paddle: Any) -> None:
    folder = paddle([convolution()], OPEN, {"w": np.zeros((2, 4, 3, 3), np.float32)})
    file = folder / "__params__"
    content = file.read_bytes()
    file.write_bytes(content + b"\0" * 8)
    with pytest.raises(ModelFileError, match="8 bytes more than the 1 parameters"):
        opener.source(folder)
    paddle([convolution()], OPEN, {"w": np.zeros((4, 2, 3, 3), np.float32)})
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"has the shape \[2, 4, 3, 3\], the program wants"):
        opener.source(folder)
    file.unlink()
    with pytest.raises(ModelFileError, match="parameters of __model__ are not beside it"):
        opener.source(folder)


def test_a_parameter_is_no_path_to_elsewhere(opener: Any, paddle: Any, tmp_path: Path) -> None:
    kind, inputs, outputs, settings = convolution()
    secret = {"../secret": np.zeros((2, 4, 3, 3), np.float32)}
    operator = (kind, {**inputs, "Filter": ["../secret"]}, outputs, settings)
    folder = paddle([operator], OPEN, secret, separate=True)
    assert (tmp_path / "secret").exists()
    with pytest.raises(ModelFileError, match="are not beside it"):
        opener.source(folder)


def test_every_cut_of_the_files_is_refused(
    opener: Any, paddle: Any, random: np.random.Generator
) -> None:
    folder = paddle([convolution()], OPEN, {"w": floats(random, 2, 4, 3, 3)})
    for name in ("__params__", "__model__"):
        file = folder / name
        content = file.read_bytes()
        for end in range(0, len(content), 7):
            file.write_bytes(content[:end])
            with pytest.raises(ModelFileError):
                opener.source(folder)
        file.write_bytes(content)
    assert opener.source(folder)


def test_noise_never_crashes(opener: Any, paddle: Any, random: np.random.Generator) -> None:
    folder = paddle([convolution()], OPEN, {"w": floats(random, 2, 4, 3, 3)})
    file = folder / "__model__"
    content = np.frombuffer(file.read_bytes(), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = content.copy()
        damaged[random.integers(0, len(content), 2)] = random.integers(0, 256, 2)
        file.write_bytes(damaged.tobytes())
        refused += opener.refuses(folder / "__model__")
    assert refused


def test_other_files_are_not_taken_for_paddle(tmp_path: Path) -> None:
    for name, content in (("a", b"\x0a\x05abcde"), ("b.pdiparams", b"\0" * 40), ("model", b"")):
        (tmp_path / name).write_bytes(content)
        assert not reader.recognizes(tmp_path / name)
    assert not reader.recognizes(tmp_path)
