"""A picture being drawn on: boxes, tags, polygons, points, tints."""

from __future__ import annotations

import unicodedata

import numpy as np

from edgeinfer.frames import Array
from edgeinfer.packages import opencv
from edgeinfer.records import dataclass

# Glasbey-like, light and dark by turns, no two neighbours alike; RGB, from the palettes of
# https://sashamaps.net/docs/resources/20-colors/ (chosen to be told apart, also by the colour-blind
# for its first eight).
_PALETTE = (
    *("e6194b", "3cb44b", "ffe119", "4363d8", "f58231", "42d4f4", "f032e6", "fabed4"),
    *("469990", "dcbeff", "9a6324", "fffac8", "800000", "aaffc3", "000075", "a9a9a9"),
    *("bfef45", "911eb4", "ffd8b1", "808000"),
)
_FONT_HEIGHT = 21.0  # pixels of a capital letter of FONT_HERSHEY_SIMPLEX at scale 1
_MIN_LETTER = 7.5  # pixels: smaller letters cannot be read
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

Color = tuple[int, int, int]


def class_color(class_id: int) -> Color:
    """The colour of a class, BGR: always the same, far from its neighbours'."""
    text = _PALETTE[class_id % len(_PALETTE)]
    return int(text[4:6], 16), int(text[2:4], 16), int(text[0:2], 16)


@dataclass(frozen=True)
class _Sizes:
    """Pixels of lines and letters that suit a picture of this size."""

    scale: float
    thickness: int
    line: int
    pad: int

    @classmethod
    def of(cls, height: int, width: int) -> _Sizes:
        letter = max(_MIN_LETTER, (height * width) ** 0.5 / 60)
        scale = letter / _FONT_HEIGHT
        line = max(1, round((height * width) ** 0.5 / 320))
        return cls(scale, max(1, round(letter / 9)), line, max(2, round(letter / 3)))


class Canvas:
    """A picture being drawn on."""

    def __init__(self, pixels: Array) -> None:
        self.pixels = pixels
        self._height, self._width = pixels.shape[:2]
        self._sizes = _Sizes.of(self._height, self._width)
        self._cv2 = opencv()

    def inside(self, box_xyxy: list[float]) -> tuple[int, int, int, int] | None:
        """Whole pixels of a box, cut to the picture; None for one outside or not finite."""
        if not np.isfinite(box_xyxy).all():
            return None
        x0, y0, x1, y1 = box_xyxy
        if x1 < 0 or y1 < 0 or x0 > self._width or y0 > self._height or x1 < x0 or y1 < y0:
            return None
        return (
            max(0, round(x0)),
            max(0, round(y0)),
            min(self._width - 1, round(x1)),
            min(self._height - 1, round(y1)),
        )

    def box(self, edges: tuple[int, int, int, int], color: Color) -> None:
        x0, y0, x1, y1 = edges
        width = self._sizes.line
        self._cv2.rectangle(self.pixels, (x0, y0), (x1, y1), color, width, self._cv2.LINE_AA)

    def polygon(self, corners_xy: Array, color: Color) -> None:
        """The outline of `(N, 2)` corners; nothing where one is not finite."""
        if np.isfinite(corners_xy).all():
            points = np.rint(np.clip(corners_xy, -32000, 32000)).astype(np.int32)
            width = self._sizes.line
            self._cv2.polylines(self.pixels, [points], True, color, width, self._cv2.LINE_AA)

    def point(self, x: float, y: float, color: Color) -> None:
        """A filled dot; nothing for one outside or not finite."""
        if 0 <= x < self._width and 0 <= y < self._height:
            place, radius = (int(x), int(y)), self._sizes.line + 1
            self._cv2.circle(self.pixels, place, radius, color, -1, self._cv2.LINE_AA)

    def tint(self, corner_xy: tuple[int, int], mask: Array, color: Color) -> None:
        """Mix a colour into the pixels of an `(h, w)` bool mask that begins at a corner."""
        x, y = corner_xy
        rows, columns = mask.shape
        part = self.pixels[y : y + rows, x : x + columns]
        part[mask] = part[mask] // 2 + np.array(color, np.uint8) // 2

    def tint_classes(self, class_ids: Array) -> None:
        """Mix each pixel with the colour of its class, `(H, W)`; class 0 is left as it is."""
        colors = np.array([class_color(number) for number in range(len(_PALETTE))], np.uint8)
        mixed = self.pixels // 2 + colors[class_ids % len(_PALETTE)] // 2
        self.pixels = np.where((class_ids > 0)[:, :, None], mixed, self.pixels)

    def label(self, edges: tuple[int, int, int, int], text: str, color: Color) -> None:
        """A filled tag above the box, or inside where there is no room, never off the picture."""
        text = self._fitting(text, self._width - 2 * self._sizes.pad)
        width, height = self._extent(text)
        x0, y0, _, _ = edges
        x = max(0, min(x0, self._width - width))
        y = y0 - height
        if y < 0:
            y = min(y0, max(0, self._height - height))
        self._tag(x, y, width, height, text, color)

    def corner(self, lines: list[str]) -> None:
        """Lines in the top left corner."""
        y = 0
        for text in lines:
            fitting = self._fitting(text, self._width - 2 * self._sizes.pad)
            width, height = self._extent(fitting)
            if y + height > self._height and y > 0:
                return
            self._tag(0, y, width, height, fitting, (40, 40, 40))
            y += height

    def _tag(self, x: int, y: int, width: int, height: int, text: str, color: Color) -> None:
        cv2, sizes = self._cv2, self._sizes
        self.pixels[y : y + height, x : x + width] = color
        # Perceived brightness, ITU-R BT.601.
        bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
        origin = (x + sizes.pad, y + height - sizes.pad - self._below())
        ink = _BLACK if bright else _WHITE
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self.pixels, text, origin, font, sizes.scale, ink, sizes.thickness, cv2.LINE_AA)

    def _below(self) -> int:
        """What letters such as g reach below the line."""
        return round(_FONT_HEIGHT * self._sizes.scale * 0.35)

    def _extent(self, text: str) -> tuple[int, int]:
        cv2, sizes = self._cv2, self._sizes
        (width, height), _ = cv2.getTextSize(
            text, cv2.FONT_HERSHEY_SIMPLEX, sizes.scale, sizes.thickness
        )
        return width + 2 * sizes.pad, height + self._below() + 2 * sizes.pad

    def _fitting(self, text: str, width: int) -> str:
        """ASCII only, cut where it is wider than the picture."""
        bare = unicodedata.normalize("NFKD", text)
        text = "".join(
            sign if " " <= sign <= "~" else "?" for sign in bare if not unicodedata.combining(sign)
        )
        while len(text) > 1 and self._extent(text)[0] > width:
            text = text[:-3] + ".." if len(text) > 3 else text[:-1]
        return text
