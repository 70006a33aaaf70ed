"""The host path against the same arithmetic written out in float64."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

import edgeinfer.preprocess
from edgeinfer.errors import InputError, SpecError
from edgeinfer.geometry import fit
from edgeinfer.preprocess import HostPreprocess, preprocess
from edgeinfer.spec import InputSpec

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def picture(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels == 3 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def spec_of(**fields):
    return InputSpec("x", **{"size_hw": (48, 64), **fields})


def by_hand(frame, spec):
    """Letterbox on a canvas of bytes, then colours, then float64, then the layout."""
    where = fit(frame.shape[1::-1], spec.size_hw, spec.resize, spec.anchor)
    x, y, w, h = where.crop_xywh
    code = getattr(cv2, f"INTER_{spec.interpolation.upper()}")
    inner = frame[y : y + h, x : x + w]
    if where.inner_wh != (w, h):
        inner = cv2.resize(inner.copy(), where.inner_wh, interpolation=code)
    canvas = np.full((*spec.size_hw, *frame.shape[2:]), spec.pad_value, np.uint8)
    (left, top), (width, height) = where.offset_xy, where.inner_wh
    canvas[top : top + height, left : left + width] = inner
    if spec.color == "gray":
        gray = canvas if canvas.ndim == 2 else cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY)
        canvas = gray[:, :, None]
    else:
        canvas = np.dstack([canvas] * 3) if canvas.ndim == 2 else canvas
        canvas = canvas[:, :, ::-1] if spec.color == "rgb" else canvas
    mean, std = np.array(spec.mean), np.array(spec.std)
    if spec.color == "gray":
        mean, std = mean[:1], std[:1]
    values = (canvas * spec.scale - mean) / std
    values = values if spec.layout == "nhwc" else values.transpose(2, 0, 1)
    return values[None]


def spread(expected):
    return max(float(np.abs(expected).max()), 1e-30)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(
    ("color", "layout", "resize"),
    list(
        itertools.product(
            ("rgb", "bgr", "gray"),
            ("nchw", "nhwc"),
            ("letterbox", "pad-br", "stretch", "center-crop"),
        )
    ),
)
def test_pictures_become_what_the_formula_says(color, layout, resize, channels):
    frame = picture(90, 70, channels)
    for numbers in ({}, {"scale": 1.0}, {"mean": (0.5,), "std": (0.25,)}, IMAGENET):
        spec = spec_of(color=color, layout=layout, resize=resize, **numbers)
        expected = by_hand(frame, spec)
        array, _ = preprocess(frame, spec)
        assert array.shape == expected.shape
        assert array.dtype == np.float32
        assert np.abs(array - expected).max() <= 2e-7 * spread(expected)


@pytest.mark.parametrize("interpolation", ["linear", "area", "cubic", "nearest"])
@pytest.mark.parametrize("size", [(33, 90), (200, 150), (20, 11)])
def test_every_interpolation_is_the_one_that_the_spec_names(interpolation, size):
    frame = picture(*size)
    spec = spec_of(interpolation=interpolation)
    expected = by_hand(frame, spec)
    assert np.abs(preprocess(frame, spec)[0] - expected).max() <= 2e-7


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int32", "int64", "uint8"])
def test_every_number_type_is_rounded_once(dtype, layout):
    frame = picture(48, 64)
    spec = spec_of(dtype=dtype, layout=layout, scale=1.0, mean=(128.0, 120.0, 0.0))
    expected = by_hand(frame, spec)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        expected = np.clip(np.rint(expected), limits.min, limits.max)
    assert np.array_equal(preprocess(frame, spec)[0], expected.astype(dtype))


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [(48, 64), (100, 31)])
def test_bytes_pass_through_untouched(color, layout, channels, size):
    frame = picture(*size, channels)
    spec = spec_of(color=color, layout=layout, dtype="uint8", scale=1.0)
    assert np.array_equal(preprocess(frame, spec)[0], by_hand(frame, spec).astype(np.uint8))


def test_a_gray_spec_may_keep_three_means():
    spec = spec_of(color="gray", **IMAGENET)
    array, _ = preprocess(picture(48, 64), spec)
    assert np.abs(array - by_hand(picture(48, 64), spec)).max() < 1e-6


def test_the_buffer_is_reused_and_follows_changes_of_size_and_colour():
    spec = spec_of()
    buffer = np.full((1, 3, 48, 64), np.nan, np.float32)
    host = HostPreprocess(spec, buffer)
    frames = [picture(90, 70), picture(90, 70, seed=1), picture(20, 200), picture(90, 70, 1)]
    for frame in [*frames, frames[0]]:
        host(frame)
        assert np.abs(buffer - by_hand(frame, spec)).max() <= 2e-7


def test_the_padding_is_written_once_and_not_per_frame():
    spec, frame = spec_of(), picture(20, 200)
    buffer = np.zeros((1, 3, 48, 64), np.float32)
    host = HostPreprocess(spec, buffer)
    host(frame)
    wanted = buffer.copy()
    buffer[:] = 7
    host(frame)
    assert not np.array_equal(buffer, wanted)


def test_opencv_writes_into_the_given_arrays():
    """Else every frame would cost a copy (it would still be right)."""
    frame = picture(90, 70)
    whole = np.zeros((60, 80, 3), np.uint8)
    part = whole[5:53, 8:72]
    assert cv2.resize(frame, (64, 48), dst=part) is part
    planes = [np.zeros((48, 64), np.uint8) for _ in range(3)]
    assert all(a is b for a, b in zip(cv2.split(part, planes), planes, strict=True))
    for dtype in (np.uint8, np.int16, np.int32, np.float64):
        out = np.zeros((60, 80), dtype)[5:53, 8:72]
        assert cv2.LUT(planes[0], np.zeros((1, 256), dtype), out) is out


def test_frames_may_be_views_of_any_kind():
    whole = picture(180, 140)
    spec = spec_of(**IMAGENET)
    frozen = whole.copy()
    frozen.setflags(write=False)
    turned = whole.transpose(1, 0, 2)
    views = [whole[::2, ::2], whole[::-1], whole[:, ::-1], whole[..., ::-1], turned, frozen]
    same_size = whole[10:58, 3:67]
    for frame in [*views, same_size, same_size[::-1, ::-1]]:
        expected = preprocess(np.ascontiguousarray(frame), spec)[0]
        assert np.array_equal(preprocess(frame, spec)[0], expected)


def test_a_frame_is_never_written_to():
    for fields in ({}, {"dtype": "uint8", "scale": 1.0, "layout": "nhwc", "color": "bgr"}):
        frame = picture(48, 64)
        kept = frame.copy()
        array, _ = preprocess(frame, spec_of(**fields))
        array[:] = 0
        assert np.array_equal(frame, kept)


def test_the_map_leads_back_to_the_frame():
    _, to_frame = preprocess(picture(96, 64), spec_of())
    # 96 rows become 48: scale 1/2, 32 columns in the middle of 64, so 16 at the left.
    corner = to_frame.points(np.array([[16.0, 0.0], [48.0, 48.0]], np.float32))
    assert corner.tolist() == [[0.0, 0.0], [64.0, 96.0]]


def test_rule_none_takes_frames_of_the_right_size_only():
    spec = spec_of(resize="none")
    assert preprocess(picture(48, 64), spec)[0].shape == (1, 3, 48, 64)
    with pytest.raises(SpecError, match=r"64x50.*64x48.*--spec"):
        preprocess(picture(50, 64), spec)
    free = dataclasses.replace(spec, size_hw=None)
    assert preprocess(picture(50, 64), free)[0].shape == (1, 3, 50, 64)


def test_a_size_that_nobody_knows_is_an_error():
    with pytest.raises(SpecError, match=r"'x'.*size_hw.*--input-shape"):
        preprocess(picture(50, 64), spec_of(size_hw=None))
    buffer = np.empty((1, 3, 48, 64), np.float32)
    HostPreprocess(spec_of(size_hw=None), buffer)(picture(50, 64))
    assert np.array_equal(buffer, preprocess(picture(50, 64), spec_of())[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_hw": (64, 64)},
        {"layout": "nhwc"},
        {"color": "gray"},
        {"dtype": "float16"},
        {"kind": "tensor"},
        {"dtype": "bool"},
    ],
)
def test_a_buffer_that_does_not_fit_the_spec_is_an_error(wrong):
    dtype = wrong.get("dtype") if wrong.get("dtype") == "bool" else np.float32
    with pytest.raises(SpecError, match=r"'x'.*spec"):
        HostPreprocess(spec_of(**wrong), np.empty((1, 3, 48, 64), dtype))


def test_a_buffer_in_pieces_is_an_error():
    with pytest.raises(SpecError, match="C-contiguous"):
        HostPreprocess(spec_of(), np.empty((1, 3, 96, 64), np.float32)[:, :, ::2])


def test_what_is_no_picture_is_an_error_at_any_time():
    host = HostPreprocess(spec_of(), np.empty((1, 3, 48, 64), np.float32))
    host(picture(50, 64))
    with pytest.raises(InputError, match="float64"):
        host(picture(50, 64) / 255)
    with pytest.raises(InputError, match="alpha"):
        host(np.zeros((50, 64, 4), np.uint8))
    with pytest.raises(InputError):
        preprocess(np.zeros((0, 64, 3), np.uint8), spec_of())


def test_the_check_against_the_formula_sees_swapped_channels():
    frame, spec = picture(48, 64), spec_of()
    wrong = preprocess(frame, dataclasses.replace(spec, color="bgr"))[0]
    assert np.abs(wrong - by_hand(frame, spec)).max() > 0.1


def test_public_names_exist():
    assert all(hasattr(edgeinfer.preprocess, name) for name in edgeinfer.preprocess.__all__)
