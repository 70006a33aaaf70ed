"""A frame and its identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import InputError
from edgeinfer.geometry import Affine
from edgeinfer.records import dataclass
from edgeinfer.timing import now_ns

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class FrameId:
    """Which frame it is.

    Attributes:
        stream: the source's own name for where it came from (a file name, a camera).
        index: position in that stream, from 0.
        media_time_ns: its time in the recording; None where the source has no clock.
        ready_ns: monotonic time at which it was decoded and ready.
        size_wh: width and height in pixels; None for frames that are no pictures.
        flags: what is odd about it (``truncated``, ``frame_count_mismatch``).
        restarts: how often the stream had broken off, and was opened anew, before it.
    """

    stream: str
    index: int
    media_time_ns: int | None
    ready_ns: int
    size_wh: tuple[int, int] | None
    flags: tuple[str, ...] = ()
    restarts: int = 0


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        data: `(H, W, 3)` uint8 BGR for pictures (`(H, W)` where the source is grey), or a mapping
            of input name to array for everything else.
        stages_ns: time already spent on it (``capture``), in nanoseconds.
        to_origin: from this frame's pixels to those of the frame that it was cut from.
    """

    id: FrameId
    data: Array | Arrays
    stages_ns: Mapping[str, int] = field(default_factory=dict)
    to_origin: Affine | None = None


def frame_from_array(data: Array | Arrays, stream: str = "array", index: int = 0) -> Frame:
    """Wrap what a caller hands in.

    Args:
        data: `(H, W, 3)` or `(H, W)` uint8 BGR picture, or a mapping of input name to array.

    Raises:
        InputError: if it is neither.
    """
    size: tuple[int, int] | None = None
    if isinstance(data, np.ndarray):
        check_picture(data)
        size = (data.shape[1], data.shape[0])
    elif not isinstance(data, Mapping):
        raise InputError(
            f"A frame is an (H, W, 3) uint8 array or a mapping of input name to array, "
            f"not {type(data).__name__}."
        )
    return Frame(FrameId(stream, index, None, now_ns(), size), data)


def check_picture(data: Array) -> None:
    """Raise unless the array is a picture.

    Raises:
        InputError: naming the dtype or rank that is wrong and how to mend it.
    """
    if data.dtype != np.uint8:
        raise InputError(
            f"A picture holds uint8 values from 0 to 255; this one is {data.dtype}. Convert it "
            f"first, for values in [0, 1]: (frame * 255).astype('uint8')."
        )
    if data.ndim == 2 or (data.ndim == 3 and data.shape[2] == 3):
        if data.size == 0:
            raise InputError(f"This picture is empty: its shape is {data.shape}.")
        return
    raise InputError(
        f"A picture has the shape (H, W, 3) in BGR or (H, W) in grey; this one is {data.shape}."
        + (" Drop its alpha channel: frame[:, :, :3]." if data.shape[2:] == (4,) else "")
        + (" Pass the pictures of a batch one by one." if data.ndim == 4 else "")
    )
