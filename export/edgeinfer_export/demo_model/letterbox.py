"""The one preprocessing rule of the demo's detector, computed by the code that runs on the box."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from edgeinfer.geometry import fit
from edgeinfer.preprocess import preprocess
from edgeinfer.spec import InputSpec

SIZE_HW = (256, 416)
PAD_VALUE = 114
INPUT = InputSpec("images", size_hw=SIZE_HW, resize="letterbox", pad_value=PAD_VALUE)
# The same without scaling: what the training set keeps in memory.
_BYTES = dataclasses.replace(
    INPUT, color="bgr", layout="nhwc", dtype="uint8", scale=1.0, mean=(0.0,), std=(1.0,)
)

Array = NDArray[np.float32]


def letterbox(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
    """Scales the picture into SIZE_HW and pads the rest.

    Args:
        picture: (H, W, 3) uint8 BGR.

    Returns:
        The letterboxed picture (BGR still), the scale, and the offset (x, y) of its corner.
    """
    height, width = picture.shape[:2]
    canvas, _ = preprocess(picture, _BYTES)
    offset = fit((width, height), SIZE_HW, _BYTES.resize, _BYTES.anchor).offset_xy
    return canvas[0], min(SIZE_HW[0] / height, SIZE_HW[1] / width), offset


def to_input(picture: NDArray[np.uint8]) -> Array:
    """(H, W, 3) uint8 BGR to the model's input, (1, 3, H, W) float32 RGB in [0, 1]."""
    values: Array = preprocess(picture, INPUT)[0]
    return values
