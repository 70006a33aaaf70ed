"""Preprocessing on the host: pictures into a model's input buffer, nothing allocated per frame."""

from __future__ import annotations

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, check_picture
from edgeinfer.geometry import Affine, Fit, fit
from edgeinfer.packages import opencv
from edgeinfer.preprocess.planes import Write, picture_view, takes_picture, writer
from edgeinfer.records import dataclass
from edgeinfer.spec import InputSpec

_BYTES = np.dtype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What one shape of picture needs.

    Attributes:
        shape: of the pictures.
        crop: the part that is used; None where that is all.
        inner_wh: its size after resizing; None where there is nothing to resize.
        inner: `(h, w, 3)` or `(h, w)` uint8, where the resized part goes.
        write: brings the resized part into the model's input.
        to_frame: model pixels to frame pixels.
    """

    shape: tuple[int, ...]
    crop: tuple[slice, slice] | None
    inner_wh: tuple[int, int] | None
    inner: Array
    write: Write
    to_frame: Affine


class HostPreprocess:
    """Writes pictures into a model's input buffer.

    Pictures are cropped, resized as bytes and only then turned into numbers, plane by plane, and
    only where the picture lies: the padding is written when a picture of another shape comes.
    So nobody else may write to the buffer.
    """

    def __init__(self, spec: InputSpec, buffer: Array) -> None:
        """Prepare for a buffer.

        Args:
            spec: what the model takes.
            buffer: `(1, C, H, W)` or `(1, H, W, C)` of the spec's dtype, C-contiguous, reused for
                every frame.

        Raises:
            SpecError: if the input is no picture, or the buffer does not fit the spec.
        """
        _check(spec, buffer)
        self._spec = spec
        self._input = buffer[0]
        self._size_hw = _size_of(spec, buffer.shape)
        self._plan: _Plan | None = None
        cv2 = opencv()
        self._resize = cv2.resize
        self._interpolation: int = getattr(cv2, f"INTER_{spec.interpolation.upper()}")

    def __call__(self, picture: Array) -> Affine:
        """Fill the buffer.

        Args:
            picture: `(H, W, 3)` uint8 BGR or `(H, W)` uint8 grey, any size; where the model's
                colours differ it is converted.

        Returns:
            From model pixels to the picture's pixels.

        Raises:
            InputError: if it is no picture.
            SpecError: if the spec says that it must not be resized and its size is another.
        """
        plan = self._plan
        if plan is None or picture.shape != plan.shape or picture.dtype != _BYTES:
            plan = self._plan = self._lay_out(picture)
        part = picture if plan.crop is None else picture[plan.crop]
        if plan.inner_wh is not None:
            part = self._resize(
                part, plan.inner_wh, dst=plan.inner, interpolation=self._interpolation
            )
        plan.write(part)
        return plan.to_frame

    def _lay_out(self, picture: Array) -> _Plan:
        check_picture(picture)
        height, width = picture.shape[:2]
        spec = self._spec
        where = fit((width, height), self._size_hw, spec.resize, spec.anchor)
        if where.padded:
            # As a grey picture that fills the input, so that padding and pixels cannot differ.
            pad = np.full(self._size_hw, spec.pad_value, np.uint8)
            writer(spec, self._input, 1)(pad)
        channels = 1 if picture.ndim == 2 else 3
        region = self._region(where)
        x0, y0, crop_w, crop_h = where.crop_xywh
        crop = slice(y0, y0 + crop_h), slice(x0, x0 + crop_w)
        if takes_picture(spec, channels):
            inner = picture_view(spec, region)
        else:
            inner = np.empty((*where.inner_wh[::-1], *picture.shape[2:]), np.uint8)
        return _Plan(
            shape=picture.shape,
            crop=None if (crop_w, crop_h) == (width, height) else crop,
            inner_wh=None if where.inner_wh == (crop_w, crop_h) else where.inner_wh,
            inner=inner,
            write=writer(spec, region, channels),
            to_frame=where.to_frame(),
        )

    def _region(self, where: Fit) -> Array:
        """The part of the model's input that the picture covers."""
        (x, y), (width, height) = where.offset_xy, where.inner_wh
        rows, columns = slice(y, y + height), slice(x, x + width)
        part = (slice(None), rows, columns) if self._spec.layout == "nchw" else (rows, columns)
        region: Array = self._input[part]
        return region


def preprocess(picture: Array, spec: InputSpec) -> tuple[Array, Affine]:
    """Turn one picture into a model's input, in an array of its own.

    Args:
        picture: `(H, W, 3)` uint8 BGR or `(H, W)` uint8 grey.
        spec: what the model takes; where it has no size and its rule is ``none``, the picture's.

    Returns:
        `(1, C, H, W)` or `(1, H, W, C)` of the spec's dtype, and the map from model pixels to the
        picture's pixels.

    Raises:
        InputError: if it is no picture.
        SpecError: if the input is no picture, or its size is unknown.
    """
    check_picture(picture)
    size_hw = spec.size_hw
    if size_hw is None and spec.resize == "none":
        size_hw = (picture.shape[0], picture.shape[1])
    if size_hw is None:
        raise SpecError(
            f"The spec of input '{spec.name}' has no size_hw: give it with --spec, or with "
            f"--input-shape {spec.name}:1x3x640x640."
        )
    if spec.layout == "nchw":
        buffer = np.empty((1, spec.channels, *size_hw), spec.dtype)
    else:
        buffer = np.empty((1, *size_hw, spec.channels), spec.dtype)
    return buffer, HostPreprocess(spec, buffer)(picture)


def _size_of(spec: InputSpec, shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[2], shape[3]) if spec.layout == "nchw" else (shape[1], shape[2])


def _check(spec: InputSpec, buffer: Array) -> None:
    where = f"input '{spec.name}'"
    if spec.kind != "image":
        raise SpecError(
            f"In {where}: kind is '{spec.kind}', so a picture cannot become it. Feed arrays, or "
            f"say in --spec that it is an image."
        )
    if spec.dtype == "bool":
        raise SpecError(f"In {where}: a picture cannot become dtype bool. Correct the spec.")
    shape = buffer.shape
    fits = len(shape) == 4 and shape[0] == 1
    fits = fits and shape[1 if spec.layout == "nchw" else 3] == spec.channels
    if fits and spec.size_hw is not None:
        fits = _size_of(spec, shape) == tuple(spec.size_hw)
    if not fits or buffer.dtype != np.dtype(spec.dtype):
        size = "H, W" if spec.size_hw is None else ", ".join(map(str, spec.size_hw))
        c = spec.channels
        wanted = f"(1, {c}, {size})" if spec.layout == "nchw" else f"(1, {size}, {c})"
        raise SpecError(
            f"In {where}: the spec means {spec.layout} {wanted} of {spec.dtype} ({spec.color}), "
            f"the model takes {shape} of {buffer.dtype}. Correct size_hw, layout, color or dtype "
            f"with --spec."
        )
    if not (buffer.flags.c_contiguous and buffer.flags.writeable):
        raise SpecError(f"In {where}: the buffer must be C-contiguous and writeable.")
