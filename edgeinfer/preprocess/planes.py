"""From resized bytes to a model's numbers: channel order, layout, scale and offset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.frames import Array
from edgeinfer.packages import opencv
from edgeinfer.spec import InputSpec

Write = Callable[[Array], None]
Convert = Callable[[Array, Array], None]

# cv2.LUT copies table entries without looking at them, so a table may pass for any type of its
# size. OpenCV 4.9 refuses float16 and every version refuses int64 under their own names.
_CARRIERS: dict[int, type[np.generic]] = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.float64}


def passes_bytes(spec: InputSpec) -> bool:
    """Whether the model takes the picture's bytes as they are, but for order and layout."""
    return spec.dtype == "uint8" and all(pair == (1.0, 0.0) for pair in spec.per_channel())


def takes_picture(spec: InputSpec, channels: int) -> bool:
    """Whether a resized picture of that many channels lies in memory just as the model wants it."""
    if not passes_bytes(spec):
        return False
    if spec.color == "gray":
        return channels == 1
    return channels == 3 and spec.color == "bgr" and spec.layout == "nhwc"


def table(spec: InputSpec) -> Array:
    """What each of the 256 pixel values becomes.

    Returns:
        `(256, C)` of the spec's dtype in the order of its colours: (pixel * scale - mean) / std,
        worked out in float64 and rounded once (to the nearest, and clipped, for integers).
    """
    factors, offsets = (
        np.array(part, np.float64) for part in zip(*spec.per_channel(), strict=True)
    )
    values = np.arange(256, dtype=np.float64)[:, None] * factors + offsets
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.ascontiguousarray(values.astype(dtype))


def _computing(spec: InputSpec, shape: tuple[int, ...]) -> Convert:
    # Few vector loops over everything: right after an inference each call costs several times what
    # it costs in a hot loop. Three planes of 640x360 took 0.10 ms without an offset and 0.13 with
    # one, on an x86-64 core; cv2.LUT 0.19, np.multiply with a cast inside it 0.15, np.take 1.5,
    # cv2.dnn.blobFromImage 3 and cv2.multiply 0.7.
    pairs = spec.per_channel()
    by = np.array([factor for factor, _ in pairs], np.float32).reshape(shape)
    # Subtracted in the picture's own units, which loses no digits near zero.
    zero = np.array([-offset / factor for factor, offset in pairs], np.float32).reshape(shape)
    shifts = bool(zero.any())

    def convert(planes: Array, out: Array) -> None:
        np.copyto(out, planes)
        if shifts:
            np.subtract(out, zero, out=out)
        np.multiply(out, by, out=out)

    return convert


def _looking_up(values: Array) -> Convert:
    # One pass, and rounded once; numpy's own cast to float16 takes 1.8 ms.
    lut: Any = opencv().LUT
    carrier = _CARRIERS[values.dtype.itemsize]
    entries = np.ascontiguousarray(values).view(carrier)
    if entries.ndim == 2:
        entries = entries[None]

    def convert(plane: Array, out: Array) -> None:
        carried = out.view(carrier)
        done = lut(plane, entries, carried)
        if done is not carried:
            np.copyto(carried, done)

    return convert


def _converter(spec: InputSpec) -> Convert:
    """For a grey plane, or a picture of interleaved channels in the order of the spec's colours."""
    if passes_bytes(spec):
        return lambda picture, out: np.copyto(out, picture)
    if spec.dtype == "float32":
        return _computing(spec, (-1,) if spec.channels > 1 else ())
    values = table(spec)
    return _looking_up(values if len(set(spec.per_channel())) > 1 else values[:, 0])


def _planar_converter(spec: InputSpec) -> Convert:
    """For `(C, h, w)` planes in the order of the spec's colours, or one grey plane for all."""
    if passes_bytes(spec):
        return lambda planes, out: np.copyto(out, planes)
    if spec.dtype == "float32":
        return _computing(spec, (-1, 1, 1))
    each = [_looking_up(values) for values in table(spec).T]

    def convert(planes: Array, out: Array) -> None:
        for channel, look_up in enumerate(each):
            look_up(planes if planes.ndim == 2 else planes[channel], out[channel])

    return convert


def spec_of_bytes(spec: InputSpec) -> InputSpec:
    """The input as decoders deliver it: uint8, BGR, height x width x channels, not scaled."""
    return dataclasses.replace(
        spec,
        color="gray" if spec.color == "gray" else "bgr",
        layout="nhwc",
        dtype="uint8",
        scale=1.0,
        mean=(0.0,),
        std=(1.0,),
    )


def writer(spec: InputSpec, region: Array, channels: int) -> Write:
    """What brings resized pictures into a part of a model's input.

    Args:
        spec: what the model takes.
        region: the part, a view of `(C, h, w)` or `(h, w, C)` by the spec's layout, of its dtype.
        channels: of the pictures to come: 3 for `(h, w, 3)` BGR, 1 for `(h, w)` grey, uint8.
    """
    if takes_picture(spec, channels):
        return _keeper(picture_view(spec, region))
    if spec.color == "gray":
        return _gray_writer(spec, picture_view(spec, region), channels)
    if spec.layout == "nhwc":
        return _interleaved_writer(spec, region, channels)
    return _planar_writer(spec, region, channels)


def picture_view(spec: InputSpec, region: Array) -> Array:
    """The region in the shape of a picture: `(h, w)` for grey models, else as it is."""
    if spec.color != "gray":
        return region
    return region[0] if spec.layout == "nchw" else region[:, :, 0]


def _keeper(target: Array) -> Write:
    def write(picture: Array) -> None:
        # Resizing wrote it there already, unless there was nothing to resize.
        if picture is not target:
            np.copyto(target, picture)

    return write


def _gray_writer(spec: InputSpec, plane: Array, channels: int) -> Write:
    convert = _converter(spec)
    if channels == 1:
        return lambda picture: convert(picture, plane)
    cv2 = opencv()
    code = cv2.COLOR_BGR2GRAY  # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B
    gray = np.empty(plane.shape, np.uint8)
    return lambda picture: convert(cv2.cvtColor(picture, code, dst=gray), plane)


def _planar_writer(spec: InputSpec, region: Array, channels: int) -> Write:
    convert = _planar_converter(spec)
    if channels == 1:
        return lambda picture: convert(picture, region)
    split = opencv().split
    planes = np.empty(region.shape, np.uint8)
    # cv2.split gives blue first.
    targets = list(planes if spec.color == "bgr" else planes[::-1])

    def write(picture: Array) -> None:
        split(picture, targets)
        convert(planes, region)

    return write


def _interleaved_writer(spec: InputSpec, region: Array, channels: int) -> Write:
    convert = _converter(spec)
    cv2 = opencv()
    code = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGR2RGB
    if channels == 3 and spec.color == "bgr":
        return lambda picture: convert(picture, region)
    scratch: NDArray[np.uint8] = np.empty(region.shape, np.uint8)
    return lambda picture: convert(cv2.cvtColor(picture, code, dst=scratch), region)
