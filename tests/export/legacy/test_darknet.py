"""Darknet: each layer against numbers worked out independently; decoded boxes; damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources import darknet as reader

SHAPE = (4, 10, 6)


def conv(filters: int = 4, size: int = 1, activation: str = "linear", more: str = "") -> str:
    return (
        f"[convolutional]\nfilters={filters}\nsize={size}\nstride=1\npad=1\n"
        f"activation={activation}\n{more}\n"
    )


# One filter for each channel, which hands it on: the layer under test reads the input itself.
SAME = conv()
SAME_WEIGHTS = [np.zeros(4), np.eye(4)]


@pytest.fixture
def data(random: np.random.Generator) -> np.ndarray[Any, Any]:
    return random.uniform(-2, 2, (1, *SHAPE)).astype(np.float32)


def assert_near(found: np.ndarray[Any, Any], wanted: Any) -> None:
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_batch_normalization_comes_before_the_weights_and_is_folded(
    opener: Any, darknet: Any, slow: SimpleNamespace, random: np.random.Generator, data: Any
) -> None:
    beta, gamma, mean = (random.normal(size=6) for _ in range(3))
    variance, weight = random.uniform(0.5, 2, 6), random.normal(size=(6, 2, 3, 3))
    text = conv(6, 3, "leaky", "batch_normalize=1\ngroups=2")
    found = opener.one(darknet(text, SHAPE, [beta, gamma, mean, variance, weight]), data)
    raw = slow.convolution(data, weight, np.zeros(6), pad=1, groups=2)
    c = (slice(None), None, None)
    wanted = (raw - mean[c]) / np.sqrt(variance[c]) * gamma[c] + beta[c]
    assert_near(found, np.where(wanted > 0, wanted, 0.1 * wanted))


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (1, 0)])
def test_the_header_of_old_and_new_files_is_skipped(
    opener: Any, darknet: Any, data: Any, version: tuple[int, int]
) -> None:
    assert_near(opener.one(darknet(SAME, SHAPE, SAME_WEIGHTS, version), data), data)


ACTIVATIONS: dict[str, Any] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "swish": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(opener: Any, darknet: Any, data: Any, name: str) -> None:
    path = darknet(conv(activation=name), SHAPE, SAME_WEIGHTS)
    assert_near(opener.one(path, data), ACTIVATIONS[name](data.astype(np.float64)))


@pytest.mark.parametrize(
    ("size", "stride", "pad", "out"),
    [
        (2, 2, 0, (5, 3)),
        (2, 1, 0, (10, 6)),
        (3, 1, 1, (10, 6)),
        (5, 1, 2, (10, 6)),
        (3, 2, 1, (5, 3)),
    ],
)
def test_max_pooling_pads_by_its_size_less_one(
    opener: Any,
    darknet: Any,
    slow: SimpleNamespace,
    data: Any,
    size: int,
    stride: int,
    pad: int,
    out: tuple[int, int],
) -> None:
    path = darknet(f"{SAME}[maxpool]\nsize={size}\nstride={stride}\n", SHAPE, SAME_WEIGHTS)
    assert_near(opener.one(path, data), slow.pool(data, size, stride, pad, out))


def reorganized(x: np.ndarray[Any, Any], stride: int) -> np.ndarray[Any, Any]:
    """Darknet's loops: one value after the other."""
    _, channels, height, width = x.shape
    flat, out = x.reshape(-1), np.empty(x.size)
    fewer = channels // (stride * stride)
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                offset, c = divmod(k, fewer)
                w, h = i * stride + offset % stride, j * stride + offset // stride
                out[i + width * (j + height * k)] = flat[
                    w + width * stride * (h + height * stride * c)
                ]
    return out.reshape(1, channels * stride**2, height // stride, width // stride)


LAYERS: dict[str, tuple[str, Any]] = {
    "route": ("[route]\nlayers = -1, 0\n", lambda x: np.concatenate((x, x), 1)),
    "route groups": ("[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", lambda x: x[:, 2:]),
    "shortcut": (
        "[shortcut]\nfrom=-1\nactivation=leaky\n",
        lambda x: np.where(x > 0, 2 * x, 0.2 * x),
    ),
    "upsample": ("[upsample]\nstride=2\n", lambda x: x.repeat(2, 2).repeat(2, 3)),
    "reorg": ("[reorg]\nstride=2\n", lambda x: reorganized(x, 2)),
    "avgpool": ("[avgpool]\n", lambda x: x.mean((2, 3), keepdims=True)),
    "dropout": ("[dropout]\nprobability=.5\n", lambda x: x),
    "sam": ("[sam]\nfrom=-1\n", lambda x: x * x),
    "scale_channels": (
        "[avgpool]\n[scale_channels]\nfrom=-2\n",
        lambda x: x * x.mean((2, 3), keepdims=True),
    ),
    "softmax": ("[avgpool]\n[softmax]\n[cost]\n", lambda x: soft(x.mean((2, 3)))),
    "activation": ("[activation]\nactivation=relu\n", lambda x: np.maximum(x, 0)),
}


def soft(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.exp(x) / np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize("case", LAYERS)
def test_layers_without_weights(opener: Any, darknet: Any, data: Any, case: str) -> None:
    text, wanted = LAYERS[case]
    assert_near(opener.one(darknet(SAME + text, SHAPE, SAME_WEIGHTS), data), wanted(data))


def test_a_shortcut_adds_the_channels_that_both_have(
    opener: Any, darknet: Any, random: np.random.Generator, data: Any
) -> None:
    for filters in (2, 6):
        weight = random.normal(size=(filters, 4, 1, 1))
        text = SAME + conv(filters) + "[shortcut]\nfrom=-2\n"
        found = opener.one(darknet(text, SHAPE, [*SAME_WEIGHTS, np.zeros(filters), weight]), data)
        wanted = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], data)
        shared = min(filters, 4)
        wanted[:, :shared] += data[:, :shared]
        assert_near(found, wanted)


def test_connected_layers_read_bias_then_weights(
    opener: Any, darknet: Any, random: np.random.Generator, data: Any
) -> None:
    bias, weight = random.normal(size=5), random.normal(size=(5, 240))
    text = SAME + "[connected]\noutput=5\nactivation=relu\n"
    found = opener.one(darknet(text, SHAPE, [*SAME_WEIGHTS, bias, weight]), data)
    assert_near(found, np.maximum(data.reshape(1, -1) @ weight.T + bias, 0))


ANCHORS = np.array([[10.0, 14.0], [23.0, 27.0], [37.0, 58.0]])


def slow_boxes(
    raw: Any, anchors: Any, spread: float = 1.0, new: bool = False, softmax: bool = False
) -> Any:
    """Row by row, as the papers write it; the input is eight times the map."""
    count = len(anchors)
    maps = raw.astype(np.float64).reshape(count, -1, *raw.shape[2:])
    sigmoid = (lambda v: v) if new else (lambda v: 1 / (1 + np.exp(-v)))
    rows = []
    for y in range(raw.shape[2]):
        for x in range(raw.shape[3]):
            for number, (aw, ah) in enumerate(anchors):
                tx, ty, tw, th, found, *classes = maps[number, :, y, x]
                cx = (sigmoid(tx) * spread - (spread - 1) / 2 + x) * 8
                cy = (sigmoid(ty) * spread - (spread - 1) / 2 + y) * 8
                w, h = (
                    ((2 * tw) ** 2 * aw, (2 * th) ** 2 * ah)
                    if new
                    else (np.exp(tw) * aw, np.exp(th) * ah)
                )
                scores = soft(np.array(classes)) if softmax else sigmoid(np.array(classes))
                rows.append((cx, cy, w, h, sigmoid(found), *scores))
    return np.array(rows)[None]


HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "yolov3": ("[yolo]\nmask=0,2\nnum=3\nanchors=10,14, 23,27, 37,58\nclasses=2\n", {}),
    "yolov4": (
        "[yolo]\nmask = 0,2\nnum=3\nanchors=10,14, 23,27, 37,58\nclasses=2\nscale_x_y=1.2\n",
        {"spread": 1.2},
    ),
    "scaled yolov4": (
        "[yolo]\nmask=0,2\nnum=3\nanchors=10,14,23,27,37,58\nclasses=2\nscale_x_y=2\nnew_coords=1\n",
        {"spread": 2.0, "new": True},
    ),
    "yolov2": (
        "[region]\nanchors=1.25,1.75, 4.625,7.25\nnum=2\nclasses=2\nsoftmax=1\n",
        {"softmax": True},
    ),
}


@pytest.mark.parametrize("case", HEADS)
def test_boxes_are_decoded_in_the_graph(
    opener: Any, darknet: Any, random: np.random.Generator, case: str
) -> None:
    text, how = HEADS[case]
    raw = random.uniform(0.05, 0.95, (1, 14, 3, 4)).astype(np.float32)
    # One value a cell, of which a convolution with the stride of a cell makes the map.
    body = "[convolutional]\nfilters=14\nsize=8\nstride=8\npad=0\nactivation=linear\n"
    weight = np.zeros((14, 14, 8, 8))
    weight[range(14), range(14), 0, 0] = 1
    picture = np.zeros((1, 14, 24, 32), np.float32)
    picture[:, :, ::8, ::8] = raw
    path = darknet(body + text, (14, 24, 32), [np.zeros(14), weight])
    found = opener.run(path, picture)
    assert_near(found["detections"], slow_boxes(raw, ANCHORS[[0, 2]], **how))


def test_a_detector_says_what_it_takes_and_gives(opener: Any, darknet: Any) -> None:
    text = conv(14) + HEADS["yolov3"][0] + "[route]\nlayers=-2\n" + conv(14) + HEADS["yolov3"][0]
    weights = [np.zeros(14), np.zeros((14, 3)), np.zeros(14), np.zeros((14, 14))]
    source = opener.source(darknet(text, (3, 8, 8), weights))
    (value,) = source.model.graph.output
    assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == [1, 2 * 8 * 8 * 2, 7]
    spec = json.loads(source.model.metadata_props[0].value)
    assert (spec["task"], spec["head"]) == ("detect", "yolov5")
    assert spec["inputs"][0]["color"] == "rgb"
    assert spec["inputs"][0]["scale"] == 1 / 255
    assert any("--labels" in note for note in source.notes)


@pytest.mark.parametrize(
    ("text", "weights", "said"),
    [
        (
            "[lstm]\n",
            [],
            r"net.cfg, layer 1 \[lstm\] \(line .*not supported. Supported: \[activation\]",
        ),
        ("[route]\nlayers=5\n", [], "refers to layer 5, which is none of the 1 before it"),
        ("[route]\nlayers=-3\n", [], "refers to layer -3"),
        ("[route]\n", [], "names no layers"),
        ("[shortcut]\nfrom=one\n", [], "from is 'one', not a number"),
        ("[convolutional]\nfilters=nan\n", [], "filters is 'nan', not a number"),
        ("[convolutional]\nfilters=8\nsize=3\n", [], "needs 8 weights, and net.weights has 0 left"),
        ("[dropout]\n", [np.zeros(7)], "net.weights has 27 weights, and net.cfg takes 20"),
        ("[convolutional]\nfilters=4\nactivation=magic\n", [np.zeros(20)], "activation 'magic'"),
        ("[yolo]\nmask=0,9\nanchors=1,2\nnum=1\nclasses=2\n", [], "mask"),
        ("[yolo]\nmask=0\nanchors=1,2\nnum=1\nclasses=2\n", [], "need 7 channels.*gives 4"),
        ("[upsample]\nstride=100000\n", [], "more than any real network has"),
        ("[maxpool]\nsize=0\nstride=1\n", [], "no sizes of a layer"),
        ("[reorg]\nstride=4\n", [], "has no stride 4"),
        ("what is this\n", [], "neither a .section. nor a setting"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    opener: Any, darknet: Any, text: str, weights: Any, said: str
) -> None:
    with pytest.raises(ModelFileError, match=said):
        opener.source(darknet(SAME + text, SHAPE, [*SAME_WEIGHTS, *weights]))


def test_one_file_without_the_other_is_refused(opener: Any, darknet: Any) -> None:
    path = darknet(SAME, SHAPE, SAME_WEIGHTS)
    weights = path.with_suffix(".weights")
    assert reader.recognizes(path)
    assert reader.recognizes(weights)
    content = weights.read_bytes()
    weights.unlink()
    with pytest.raises(ModelFileError, match="file of weights is not beside it as net.weights"):
        opener.source(path)
    weights.write_bytes(content)
    path.unlink()
    with pytest.raises(ModelFileError, match="description is not beside it as net.cfg"):
        opener.source(weights)


def test_every_cut_of_the_weights_is_refused(opener: Any, darknet: Any) -> None:
    path = darknet(SAME, SHAPE, SAME_WEIGHTS)
    weights = path.with_suffix(".weights")
    content = weights.read_bytes()
    for end in range(0, len(content) - 3, 5):
        weights.write_bytes(content[:end])
        with pytest.raises(ModelFileError):
            opener.source(path)


def test_noise_in_the_description_never_crashes(
    opener: Any, darknet: Any, random: np.random.Generator
) -> None:
    text = SAME + "[maxpool]\nsize=2\nstride=2\n[upsample]\nstride=2\n[route]\nlayers=-1,-3\n"
    path = darknet(text, SHAPE, SAME_WEIGHTS)
    content = bytearray(path.read_bytes())
    refused = 0
    for _ in range(100):
        damaged = content.copy()
        for place in random.integers(0, len(content), 2):
            damaged[place] = int(random.integers(32, 127))
        path.write_bytes(damaged)
        refused += opener.refuses(path)
    assert refused


def test_other_files_are_not_taken_for_darknet(tmp_path: Path) -> None:
    for name, content in (("a.cfg", b"[user]\nname=x"), ("b.weights", b"RIFF1234"), ("c", b"")):
        (tmp_path / name).write_bytes(content)
        assert not reader.recognizes(tmp_path / name)
