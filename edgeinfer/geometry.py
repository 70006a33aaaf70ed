"""How a frame's pixels and a model's pixels lie over each other.

Coordinates are continuous: pixel i covers [i, i + 1), the picture's right edge is at its width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import SpecError
from edgeinfer.records import dataclass

RESIZE_RULES = ("letterbox", "pad-br", "stretch", "center-crop", "none")


@dataclass(frozen=True, eq=False)
class Affine:
    """A map of the plane: `(2, 3)` float64, [x', y'] = matrix @ [x, y, 1]."""

    matrix: NDArray[np.float64]

    def boxes(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map `(N, 4)` axis-aligned boxes; exact for scaling and shifting."""
        (sx, _, tx), (_, sy, ty) = self.matrix.tolist()
        scale = np.array([sx, sy, sx, sy], np.float32)
        return np.asarray(boxes_xyxy * scale + np.array([tx, ty, tx, ty], np.float32))

    def points(self, points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map `(..., 2)` points."""
        matrix = self.matrix.astype(np.float32)
        return np.asarray(points_xy @ matrix[:, :2].T + matrix[:, 2])


@dataclass(frozen=True)
class Fit:
    """Where a frame lands in a model's input.

    Attributes:
        crop_xywh: the part of the frame that is used, in frame pixels.
        inner_wh: its size after resizing, in model pixels.
        offset_xy: where its top left corner lies in the model's input.
        input_hw: the model's input.
    """

    crop_xywh: tuple[int, int, int, int]
    inner_wh: tuple[int, int]
    offset_xy: tuple[int, int]
    input_hw: tuple[int, int]

    @property
    def padded(self) -> bool:
        """Whether some of the input is padding."""
        return self.inner_wh != (self.input_hw[1], self.input_hw[0])

    def to_frame(self) -> Affine:
        """From model pixels to frame pixels."""
        x0, y0, w, h = self.crop_xywh
        sx, sy = w / self.inner_wh[0], h / self.inner_wh[1]
        ox, oy = self.offset_xy
        return Affine(np.array([[sx, 0.0, x0 - ox * sx], [0.0, sy, y0 - oy * sy]]))


def fit(frame_wh: tuple[int, int], input_hw: tuple[int, int], resize: str, anchor: str) -> Fit:
    """Lay a frame into a model's input.

    Args:
        frame_wh: the frame's width and height.
        input_hw: the model's height and width.
        resize: ``letterbox`` keeps the aspect ratio and pads (around the frame where `anchor` is
            ``center``, else right and below); ``pad-br`` always pads right and below; ``stretch``
            fills the input; ``center-crop`` resizes the shorter side and cuts the middle;
            ``none`` takes the frame as it is.

    Raises:
        SpecError: for ``none`` and a frame of another size.
    """
    width, height = frame_wh
    in_h, in_w = input_hw
    whole = (0, 0, width, height)
    if resize == "stretch":
        return Fit(whole, (in_w, in_h), (0, 0), input_hw)
    if resize == "none":
        if (width, height) != (in_w, in_h):
            raise SpecError(
                f"The spec says resize 'none', the frame is {width}x{height} and the model takes "
                f"{in_w}x{in_h}: resize the frames, or name a rule in --spec."
            )
        return Fit(whole, (in_w, in_h), (0, 0), input_hw)
    if resize == "center-crop":
        scale = max(in_w / width, in_h / height)
        crop_w, crop_h = min(width, round(in_w / scale)), min(height, round(in_h / scale))
        corner = (width - crop_w) // 2, (height - crop_h) // 2
        return Fit((*corner, max(1, crop_w), max(1, crop_h)), (in_w, in_h), (0, 0), input_hw)
    scale = min(in_w / width, in_h / height)
    inner = max(1, min(in_w, round(width * scale))), max(1, min(in_h, round(height * scale)))
    if resize == "pad-br" or anchor != "center":
        return Fit(whole, inner, (0, 0), input_hw)
    # Halves round down on the left and top, as in the letterbox that YOLO models train with.
    offset = (in_w - inner[0]) // 2, (in_h - inner[1]) // 2
    return Fit(whole, inner, offset, input_hw)
