"""Caffe: each layer against numbers worked out independently; damaged files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ModelFileError, UsageError
from edgeinfer_export.sources import caffe as reader

SHAPE = (1, 4, 9, 7)


def layer(kind: str, settings: str = "", bottom: str = '"data"', top: str = "out") -> str:
    bottoms = " ".join(f"bottom: {name}" for name in bottom.split())
    return f'layer {{ name: "l" type: "{kind}" {bottoms} top: "{top}" {settings} }}\n'


@pytest.fixture
def data(random: np.random.Generator) -> np.ndarray[Any, Any]:
    return random.uniform(-2, 2, SHAPE).astype(np.float32)


def assert_near(found: np.ndarray[Any, Any], wanted: Any) -> None:
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "shape", "how"),
    [
        ("kernel_size: 3 pad: 1 stride: 2", (6, 4, 3, 3), {"pad": 1, "stride": 2}),
        ("kernel_size: 3 group: 2", (6, 2, 3, 3), {"groups": 2}),
        ("kernel_h: 3 kernel_w: 1 dilation: 2", (6, 4, 3, 1), {"dilation": 2}),
    ],
)
def test_convolution(
    opener: Any,
    caffe: Any,
    slow: SimpleNamespace,
    random: np.random.Generator,
    data: Any,
    settings: str,
    shape: tuple[int, ...],
    how: dict[str, int],
) -> None:
    weight, bias = random.normal(size=shape), random.normal(size=6)
    text = layer("Convolution", f"convolution_param {{ num_output: 6 {settings} }}")
    found = opener.one(caffe(text, SHAPE, {"l": [weight, bias]}), data)
    assert_near(found, slow.convolution(data, weight, bias, **how))


def test_deconvolution(
    opener: Any, caffe: Any, slow: SimpleNamespace, random: np.random.Generator, data: Any
) -> None:
    weight = random.normal(size=(4, 5, 4, 4))
    settings = "num_output: 5 kernel_size: 4 stride: 2 pad: 1 bias_term: false"
    text = layer("Deconvolution", f"convolution_param {{ {settings} }}")
    found = opener.one(caffe(text, SHAPE, {"l": [weight]}), data)
    assert_near(found, slow.deconvolution(data, weight, 2, 1))


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "out"),
    # Caffe rounds up, unless the last window would begin in the padding at the end.
    [(3, 2, 0, (4, 3)), (2, 2, 0, (5, 4)), (3, 2, 1, (5, 4)), (3, 3, 1, (4, 3)), (2, 2, 1, (5, 4))],
)
def test_pooling_rounds_up_and_its_averages_count_padding_but_nothing_beyond(
    opener: Any,
    caffe: Any,
    slow: SimpleNamespace,
    data: Any,
    kernel: int,
    stride: int,
    pad: int,
    out: tuple[int, int],
    average: bool,
) -> None:
    kind = "AVE" if average else "MAX"
    settings = f"pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad}"
    found = opener.one(caffe(layer("Pooling", f"pooling_param {{ {settings} }}"), SHAPE), data)
    assert_near(found, slow.pool(data, kernel, stride, pad, out, "padded" if average else ""))


def test_pooling_rounds_down_where_the_file_says_so(
    opener: Any, caffe: Any, slow: SimpleNamespace, data: Any
) -> None:
    settings = "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }"
    assert_near(
        opener.one(caffe(layer("Pooling", settings), SHAPE), data), slow.pool(data, 2, 2, 0, (4, 3))
    )


def test_inner_product_joins_the_dimensions_from_its_axis_on(
    opener: Any, caffe: Any, random: np.random.Generator, data: Any
) -> None:
    weight, bias = random.normal(size=(5, 252)), random.normal(size=5)
    text = layer("InnerProduct", "inner_product_param { num_output: 5 }")
    found = opener.one(caffe(text, SHAPE, {"l": [weight, bias]}), data)
    assert_near(found, data.reshape(1, -1) @ weight.T + bias)
    turned = layer("InnerProduct", "inner_product_param { num_output: 5 axis: 2 transpose: true }")
    weight = random.normal(size=(63, 5))
    found = opener.one(caffe(turned, SHAPE, {"l": [weight, bias]}), data)
    assert_near(found, data.reshape(1, 4, 63) @ weight + bias)


def test_batch_norm_divides_by_the_weight_of_its_running_sums(
    opener: Any, caffe: Any, random: np.random.Generator, data: Any
) -> None:
    mean, variance = random.normal(size=4), random.uniform(0.5, 2, 4)
    gamma, beta = random.normal(size=4), random.normal(size=4)
    text = layer("BatchNorm", "batch_norm_param { eps: 0.01 }").replace('"l"', '"norm"')
    text += layer("Scale", "scale_param { bias_term: true }", '"out"')
    weights = {"norm": [mean * 3, variance * 3, np.array([3.0])], "l": [gamma, beta]}
    found = opener.one(caffe(text, SHAPE, weights), data)
    c = (slice(None), None, None)
    assert_near(found, (data - mean[c]) / np.sqrt(variance[c] + 0.01) * gamma[c] + beta[c])


def test_prelu_and_normalize_have_a_factor_for_each_channel(
    opener: Any, caffe: Any, random: np.random.Generator, data: Any
) -> None:
    slopes = random.uniform(0.1, 1, 4)
    found = opener.one(caffe(layer("PReLU"), SHAPE, {"l": [slopes]}), data)
    assert_near(found, np.where(data > 0, data, data * slopes[:, None, None]))
    text = layer("Normalize", "norm_param { across_spatial: false channel_shared: false }")
    found = opener.one(caffe(text, SHAPE, {"l": [slopes]}), data)
    assert_near(found, data / np.linalg.norm(data, axis=1, keepdims=True) * slopes[:, None, None])


POINTWISE: dict[str, tuple[str, Any]] = {
    "ReLU": ("", lambda x: np.maximum(x, 0)),
    "ReLU leaky": ("relu_param { negative_slope: 0.1 }", lambda x: np.where(x > 0, x, 0.1 * x)),
    "ReLU6": ("", lambda x: np.clip(x, 0, 6)),
    "ELU": ("elu_param { alpha: 0.7 }", lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    "TanH": ("", np.tanh),
    "AbsVal": ("", np.abs),
    "BNLL": ("", lambda x: np.log1p(np.exp(x))),
    "Power": ("power_param { power: 2 scale: 3 shift: 0.5 }", lambda x: (0.5 + 3 * x) ** 2),
    "Exp": ("exp_param { base: 2 scale: 0.5 shift: 0.1 }", lambda x: 2 ** (0.1 + 0.5 * x)),
    "Log": ("log_param { shift: 3 }", lambda x: np.log(3 + x)),
    "Clip": ("clip_param { min: -1 max: 0.5 }", lambda x: np.clip(x, -1, 0.5)),
    "Threshold": ("threshold_param { threshold: 0.3 }", lambda x: (x > 0.3) * 1.0),
    "Swish": ("swish_param { beta: 2 }", lambda x: x / (1 + np.exp(-2 * x))),
    "Mish": ("", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "Dropout": ("dropout_param { dropout_ratio: 0.5 }", lambda x: x),
    "Softmax": ("", lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "Softmax 3": (
        "softmax_param { axis: 3 }",
        lambda x: np.exp(x) / np.exp(x).sum(3, keepdims=True),
    ),
    "MVN": ("", lambda x: (x - x.mean((2, 3), keepdims=True)) / x.std((2, 3), keepdims=True)),
    "ArgMax": ("argmax_param { axis: 1 }", lambda x: x.argmax(1)[:, None]),
    "Reduction": (
        "reduction_param { operation: ASUM axis: 1 coeff: 2 }",
        lambda x: 2 * np.abs(x).sum((1, 2, 3)),
    ),
    "Flatten": ("", lambda x: x.reshape(1, -1)),
    "Flatten 2": ("flatten_param { axis: 1 end_axis: 2 }", lambda x: x.reshape(1, 36, 7)),
    "Reshape": ("reshape_param { shape { dim: 0 dim: -1 dim: 7 } }", lambda x: x.reshape(1, 36, 7)),
    "Reshape axes": (
        "reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 1 }",
        lambda x: x.reshape(1, 2, 2, 9, 7),
    ),
    "Permute": ("permute_param { order: 0 order: 2 order: 3 }", lambda x: x.transpose(0, 2, 3, 1)),
    "Tile": ("tile_param { tiles: 2 }", lambda x: np.tile(x, (1, 2, 1, 1))),
    "Upsample": ("upsample_param { scale: 2 }", lambda x: x.repeat(2, 2).repeat(2, 3)),
    "ShuffleChannel": ("shuffle_channel_param { group: 2 }", lambda x: x[:, [0, 2, 1, 3]]),
}


@pytest.mark.parametrize("case", POINTWISE)
def test_layers_without_weights(opener: Any, caffe: Any, data: Any, case: str) -> None:
    settings, wanted = POINTWISE[case]
    found = opener.one(caffe(layer(case.split()[0], settings), SHAPE), data)
    assert_near(found, wanted(data.astype(np.float64)))


def test_local_response_normalization_across_and_within_channels(
    opener: Any, caffe: Any, slow: SimpleNamespace, data: Any
) -> None:
    text = layer("LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }")
    squares = np.pad(data**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    assert_near(opener.one(caffe(text, SHAPE), data), data / (2 + 0.5 / 3 * total) ** 0.6)
    text = layer("LRN", "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }")
    mean = slow.pool(data**2, 3, 1, 1, (9, 7), "padded")
    assert_near(opener.one(caffe(text, SHAPE), data), data / (1 + 0.5 * mean) ** 0.75)


def test_interp_aligns_the_corners(opener: Any, caffe: Any) -> None:
    ramp = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    found = opener.one(caffe(layer("Interp", "interp_param { zoom_factor: 3 }"), ramp.shape), ramp)
    assert found.shape == (1, 1, 7, 10)
    assert_near(found[0, 0, 0], np.linspace(0, 3, 10))
    assert_near(found[0, 0, :, 0], np.linspace(0, 8, 7))


def test_eltwise_concat_slice_and_crop(opener: Any, caffe: Any, data: Any) -> None:
    double = layer("Power", "power_param { scale: 2 }", top="twice").replace('"l"', '"p"')
    both = '"data" "twice"'
    cases = (
        ("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 }", data),
        ("Eltwise", "eltwise_param { operation: PROD }", 2 * data**2),
        ("Eltwise", "eltwise_param { operation: MAX }", np.maximum(data, 2 * data)),
        ("Concat", "", np.concatenate((data, 2 * data), 1)),
        ("Concat", "concat_param { axis: -1 }", np.concatenate((data, 2 * data), 3)),
    )
    for kind, settings, wanted in cases:
        assert_near(opener.one(caffe(double + layer(kind, settings, both), SHAPE), data), wanted)
    text = layer(
        "Slice", 'top: "b" top: "c" slice_param { slice_point: 1 slice_point: 3 }', top="a"
    )
    parts = opener.run(caffe(text, SHAPE), {"data": data})
    assert list(parts) == ["a", "b", "c"]
    assert_near(np.concatenate(list(parts.values()), 1), data)
    assert_near(parts["b"], data[:, 1:3])
    small = layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", top="p").replace(
        '"l"', '"q"'
    )
    text = small + layer("Crop", "crop_param { axis: 2 offset: 2 offset: 3 }", '"data" "p"')
    assert_near(opener.one(caffe(text, SHAPE), data), data[:, :, 2:7, 3:7])


def test_scale_takes_its_factors_from_a_second_input(
    opener: Any, caffe: Any, slow: SimpleNamespace, data: Any
) -> None:
    pooled = layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", top="p")
    flat = layer("Flatten", "", '"p"', top="f").replace('"l"', '"k"')
    text = (
        pooled.replace('"l"', '"g"')
        + flat
        + layer("Scale", "scale_param { axis: 0 }", '"data" "f"')
    )
    assert_near(opener.one(caffe(text, SHAPE), data), data * data.mean((2, 3), keepdims=True))


def test_layers_in_place_keep_the_names_of_what_comes_out(
    opener: Any, caffe: Any, data: Any
) -> None:
    text = layer("Power", "power_param { scale: 2 }")
    text += 'layer { name: "r" type: "ReLU" bottom: "out" top: "out" }\n'
    found = opener.run(caffe(text, SHAPE), {"data": data})
    assert list(found) == ["out"]
    assert_near(found["out"], np.maximum(2 * data, 0))


def test_layers_for_training_are_left_out(opener: Any, caffe: Any, data: Any) -> None:
    text = 'layer { name: "d" type: "Data" top: "data" include { phase: TRAIN } }\n'
    text += layer("Flatten") + 'layer { name: "q" type: "SoftmaxWithLoss" bottom: "out" '
    text += 'bottom: "label" top: "loss" }\n'
    text += (
        'layer { name: "a" type: "Accuracy" bottom: "out" bottom: "label" include { phase: TEST } }'
    )
    found = opener.run(caffe(text, SHAPE), {"data": data})
    flat = data.reshape(1, -1).astype(np.float64)
    assert_near(found["loss"], np.exp(flat) / np.exp(flat).sum())


def test_the_first_form_of_layers_is_read(
    opener: Any, caffe: Any, slow: SimpleNamespace, random: np.random.Generator, data: Any
) -> None:
    weight, bias = random.normal(size=(6, 4, 3, 3)), random.normal(size=6)
    text = """
    layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1
             convolution_param { num_output: 6 kernel_size: 3 } }
    layers { name: "r" type: RELU bottom: "c" top: "c" }
    """
    found = opener.one(caffe(text, SHAPE, {"c": [weight, bias]}, v1=True), data)
    assert_near(found, np.maximum(slow.convolution(data, weight, bias), 0))


def detector(clip: str = "false") -> str:
    """Six anchors a cell, two classes and a background, on the input itself."""
    order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
    boxes = layer("Convolution", "convolution_param { num_output: 24 kernel_size: 1 }", top="b0")
    scores = layer("Convolution", "convolution_param { num_output: 18 kernel_size: 1 }", top="s0")
    text = boxes.replace('"l"', '"boxes"') + scores.replace('"l"', '"scores"')
    for name in "bs":
        text += layer("Permute", order, f'"{name}0"', f"{name}1") + layer(
            "Flatten", "", f'"{name}1"', f"{name}2"
        )
    text += layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }", '"s2"', "s3")
    text += layer("Softmax", "softmax_param { axis: 2 }", '"s3"', "s4") + layer(
        "Flatten", "", '"s4"', "s5"
    )
    prior = "min_size: 3 max_size: 6 aspect_ratio: 2 aspect_ratio: 3 variance: 0.1 variance: 0.1"
    text += layer(
        "PriorBox",
        f"prior_box_param {{ {prior} variance: 0.2 variance: 0.2 clip: {clip} }}",
        '"data" "data"',
        "p",
    )
    return text + layer(
        "DetectionOutput",
        "detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.45 top_k: 400 } "
        "code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.4 }",
        '"b2" "s5" "p"',
        "found",
    )


def slow_detections(data: Any, weights: Any) -> np.ndarray[Any, Any]:
    """The same, box by box."""
    width = data.shape[3]
    maps = [
        np.einsum("oc,chw->hwo", w.reshape(len(w), 4), data[0]) + b for w, b in weights.values()
    ]
    deltas, logits = maps[0].reshape(-1, 4), maps[1].reshape(-1, 3)
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    sizes = [(3, 3), (18**0.5, 18**0.5)]
    sizes += [(3 * ratio**0.5, 3 / ratio**0.5) for ratio in (2, 1 / 2, 3, 1 / 3)]
    boxes = []
    for number, (dx, dy, dw, dh) in enumerate(deltas):
        cell, kind = divmod(number, 6)
        y, x = divmod(cell, width)
        w, h = sizes[kind]
        cx, cy = x + 0.5 + 0.1 * dx * w, y + 0.5 + 0.1 * dy * h
        w, h = w * np.exp(0.2 * dw), h * np.exp(0.2 * dh)
        boxes.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    rows = []
    for label in (1, 2):
        kept: list[Any] = []
        for number in np.argsort(-scores[:, label], kind="stable"):
            if scores[number, label] > 0.4 and all(overlap(boxes[number], k) <= 0.45 for k in kept):
                kept.append(boxes[number])
                rows.append((*boxes[number], scores[number, label], label))
    return np.array(sorted(rows, key=lambda row: -row[4])[:20])


def overlap(a: Any, b: Any) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(shared / (areas - shared))


def test_a_single_shot_detector_ends_in_boxes_in_pixels(
    opener: Any, caffe: Any, random: np.random.Generator, data: Any
) -> None:
    weights = {
        "boxes": [random.normal(size=(24, 4, 1, 1)), random.normal(size=24)],
        "scores": [random.normal(size=(18, 4, 1, 1)), random.normal(size=18)],
    }
    found = opener.one(caffe(detector(), SHAPE, weights), data)
    assert found.shape == (1, 20, 6)
    wanted = slow_detections(data.astype(np.float64), weights)
    assert len(wanted) == 20
    assert_near(found[0], wanted)


def test_fewer_boxes_than_rows_leave_zeros(
    opener: Any, caffe: Any, random: np.random.Generator, data: Any
) -> None:
    weights = {
        "boxes": [np.zeros((24, 4, 1, 1)), np.zeros(24)],
        "scores": [np.zeros((18, 4, 1, 1)), np.zeros(18)],  # 1/3 each, below the threshold
    }
    assert not opener.one(caffe(detector(), SHAPE, weights), data).any()


def test_a_shape_of_the_user_replaces_that_of_the_file(opener: Any, caffe: Any) -> None:
    path = caffe(layer("ReLU"), SHAPE)
    source = opener.source(path, input_shapes={"data": (2, 4, 5, 6)})
    assert [d.dim_value for d in source.model.graph.output[0].type.tensor_type.shape.dim] == [
        2,
        4,
        5,
        6,
    ]
    with pytest.raises(UsageError, match="no input 'dat'. Did you mean 'data'"):
        opener.source(path, input_shapes={"dat": (1, 4, 5, 6)})
    with pytest.raises(UsageError, match="has 3 dimensions; the model's input has 4"):
        opener.source(path, input_shapes={"data": (1, 4, 5)})


def test_the_batch_stays_open_where_the_user_names_it(
    opener: Any, caffe: Any, random: np.random.Generator
) -> None:
    weights = {"c": [random.normal(size=(6, 4, 3, 3)), random.normal(size=6)]}
    weights["f"] = [random.normal(size=(5, 6 * 4 * 3))]
    text = layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 }", top="c")
    text = text.replace('"l"', '"c"')
    text += layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", '"c"', "p")
    text += layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", '"p"', "r")
    settings = "inner_product_param { num_output: 5 bias_term: false }"
    text += layer("InnerProduct", settings, '"r"').replace('"l"', '"f"')
    path = caffe(text, SHAPE, weights)
    data = random.normal(size=(3, *SHAPE[1:])).astype(np.float32)
    three = opener.one(path, data, input_shapes={"data": ("N", *SHAPE[1:])})
    assert three.shape == (3, 5)
    for number in range(3):
        assert_near(three[number : number + 1], opener.one(path, data[number : number + 1]))


def test_either_file_may_be_named_and_weights_may_lie_elsewhere(
    opener: Any, caffe: Any, tmp_path: Path, data: Any
) -> None:
    path = caffe(layer("ReLU"), SHAPE)
    weights = path.with_suffix(".caffemodel")
    one = opener.one(weights, data)
    (tmp_path / "else").mkdir()
    moved = weights.rename(tmp_path / "else" / "other.bin")
    assert (opener.one(path, data, weights=moved) == one).all()
    assert (opener.one(moved, data, weights=path) == one).all()
    assert reader.recognizes(path)
    assert reader.recognizes(moved)


def test_one_file_without_the_other_is_refused(opener: Any, caffe: Any) -> None:
    path = caffe(layer("ReLU"), SHAPE)
    weights = path.with_suffix(".caffemodel")
    content = weights.read_bytes()
    weights.unlink()
    with pytest.raises(ModelFileError, match="file of weights is not beside it as net.caffemodel"):
        opener.source(path)
    weights.write_bytes(content)
    path.unlink()
    with pytest.raises(ModelFileError, match="description is not beside it as net.prototxt"):
        opener.source(weights)


def test_an_unsupported_layer_is_named_with_its_place_and_what_is_supported(
    opener: Any, caffe: Any
) -> None:
    text = layer("ReLU", top="a") + layer("Python", "", '"a"').replace('"l"', '"mine"')
    with pytest.raises(ModelFileError) as caught:
        opener.source(caffe(text, SHAPE))
    said = str(caught.value)
    assert "net.prototxt, layer 'mine' (number 3, type Python)" in said
    assert "not supported" in said
    assert "AbsVal, ArgMax" in said


CONV = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }")


@pytest.mark.parametrize(
    ("text", "weights", "said"),
    [
        (
            CONV,
            {"l": [np.zeros((2, 4, 3, 2)), np.zeros(2)]},
            "it has 48 weights in blob 0, and needs 72",
        ),
        (CONV, {"l": [np.zeros((2, 4, 3, 3))]}, "it has 1 blobs of weights, and needs 2"),
        (
            CONV + CONV.replace('"l"', '"m"'),
            {"l": [np.zeros((2, 4, 3, 3)), np.zeros(2)]},
            "no weights for it",
        ),
        (CONV, {"other": [np.zeros(1)]}, "they do not belong together"),
        (
            layer("ReLU", bottom='"later"') + layer("ReLU", top="later"),
            None,
            "no layer before it writes",
        ),
        (layer("Concat", bottom='"data" "p"'), None, "reads the blob 'p'"),
        (layer("Reshape", "reshape_param { shape { dim: 5 dim: -1 } }"), None, "does not become"),
        (layer("Pooling", "pooling_param { kernel_size: 0 }"), None, "no sizes of a layer"),
        (layer("Pooling", "pooling_param { kernel_size: 40 }"), None, "its window is too big"),
        (
            layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
            None,
            "MAX and AVE",
        ),
        (layer("Tile", "tile_param { tiles: 2000000000 }"), None, "more than any real network has"),
        (layer("Eltwise", "", '"data" "data" "q"'), None, "reads the blob 'q'"),
        (
            layer("InnerProduct", "inner_product_param { num_output: 5 }"),
            {"l": [np.zeros(7)]},
            "7 weights",
        ),
        ("", {"l": [np.zeros(7)]}, "describes no layers"),
        ("layers { layer { name: 'old' } }", {"l": [np.zeros(7)]}, "oldest form"),
    ],
)
def test_what_does_not_fit_is_refused(
    opener: Any, caffe: Any, text: str, weights: Any, said: str
) -> None:
    with pytest.raises(ModelFileError, match=said):
        path = caffe(text, SHAPE, weights)
        opener.source(path)


def test_an_input_without_a_shape_asks_for_one(opener: Any, caffe: Any, data: Any) -> None:
    path = caffe(layer("ReLU"), SHAPE)
    path.write_text(path.read_text().replace("input_dim: 9", "input_dim: -1"))
    with pytest.raises(UsageError, match="--input-shape data:1x3x224x224"):
        opener.source(path)
    assert opener.one(path, data, input_shapes={"data": SHAPE}).shape == SHAPE


def test_every_cut_of_the_weights_is_refused(
    opener: Any, caffe: Any, random: np.random.Generator
) -> None:
    path = caffe(CONV, SHAPE, {"l": [random.normal(size=(2, 4, 3, 3)), random.normal(size=2)]})
    weights = path.with_suffix(".caffemodel")
    content = weights.read_bytes()
    for end in range(0, len(content), 7):
        weights.write_bytes(content[:end])
        with pytest.raises(ModelFileError):
            opener.source(path)


def test_noise_in_the_weights_never_crashes(
    opener: Any, caffe: Any, random: np.random.Generator
) -> None:
    path = caffe(CONV, SHAPE, {"l": [random.normal(size=(2, 4, 3, 3)), random.normal(size=2)]})
    weights = path.with_suffix(".caffemodel")
    content = np.frombuffer(weights.read_bytes(), np.uint8)
    refused = 0
    for _ in range(60):
        damaged = content.copy()
        damaged[random.integers(0, 40, 3)] = random.integers(0, 256, 3)
        weights.write_bytes(damaged.tobytes())
        refused += opener.refuses(path, error=ModelFileError)
    assert refused


def test_noise_in_the_description_never_crashes(
    opener: Any, caffe: Any, random: np.random.Generator
) -> None:
    path = caffe(detector(), SHAPE, {"boxes": [np.zeros((24, 4, 1, 1)), np.zeros(24)]})
    content = path.read_bytes()
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.choice(list(b'0123456789-{}"ab:'))
        path.write_bytes(damaged)
        refused += opener.refuses(path)
    assert refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('layer { name: "r" type: "ReLU" bottom: "data" }', "it writes nothing"),
        (
            layer("Flatten") + layer("ShuffleChannel", bottom='"out"', top="s"),
            "contradict what it reads",
        ),
    ],
)
def test_layers_that_make_no_sense_are_named(opener: Any, caffe: Any, text: str, said: str) -> None:
    with pytest.raises(ModelFileError, match=f"net.prototxt, layer '.' .*{said}"):
        opener.source(caffe(text, SHAPE))


def test_other_files_are_not_taken_for_caffe(tmp_path: Path) -> None:
    for name, content in (("a.txt", b"hello {"), ("b.pb", b"\x0a\x05\x0a\x03abc"), ("c", b"")):
        (tmp_path / name).write_bytes(content)
        assert not reader.recognizes(tmp_path / name)
    assert not reader.recognizes(tmp_path)
    assert not reader.recognizes(tmp_path / "missing.prototxt")
