"""Text: where it stands, what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass


@dataclass(frozen=True, eq=False)
class TextLines:
    """Lines of text.

    Attributes:
        scores: `(N,)` float32 in [0, 1].
        texts: what they say; empty for models that only find them.
        polygons_xy: `(N, 4, 2)` float32 corners in pixels of the original frame, clockwise from
            the top left one; None for models that read the whole frame.
        flags: ``nonfinite`` where the graph gave numbers that are none.
    """

    scores: NDArray[np.float32]
    texts: tuple[str, ...] = ()
    polygons_xy: NDArray[np.float32] | None = None
    flags: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        lines: list[dict[str, Any]] = [{"score": round(score, 6)} for score in self.scores.tolist()]
        if self.texts:
            for line, text in zip(lines, self.texts, strict=True):
                line["text"] = text
        if self.polygons_xy is not None:
            corners = np.round(self.polygons_xy.astype(np.float64), 3).tolist()
            for line, polygon in zip(lines, corners, strict=True):
                line["polygon_xy"] = polygon
        return {"lines": lines}
