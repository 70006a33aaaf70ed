"""A class for every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass
from edgeinfer.results.record import label_of


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The class of every pixel.

    Attributes:
        class_ids: `(H, W)` uint8 or uint16 over the original frame.
        labels: every label of the model.
        flags: ``nonfinite`` where the graph gave numbers that are none.
        file: where the map was written, None where it was not.
    """

    class_ids: NDArray[np.unsignedinteger]
    labels: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    file: str | None = None

    def to_dict(self) -> dict[str, Any]:
        counts = np.bincount(self.class_ids.ravel())
        total = max(1, self.class_ids.size)
        order = [number for number in np.argsort(-counts, kind="stable").tolist() if counts[number]]
        areas = [
            {
                "label": label_of(self.labels, number),
                "class_id": number,
                "pixels": int(counts[number]),
                "share": round(int(counts[number]) / total, 6),
            }
            for number in order
        ]
        return {"areas": areas, "mask": self.file}
