"""YOLOv8, 9, 11, 12, 26 without NMS: `[1, 4 + classes, N]`, and graphs that end in `[1, N, 6]`.

The layouts are Ultralytics' export formats (https://docs.ultralytics.com/modes/export).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View, grid_counts, only_output
from edgeinfer.heads.boxes import finish, peak_of, threshold, xywh_to_xyxy
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec

# More classes than any detector tells apart: such rows are predictions.
_MOST_ROWS = 1000


class YoloV8:
    """Columns of centre x, centre y, width, height in model pixels, then a score per class."""

    name = "yolov8"
    task = "detect"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=3)
        if isinstance(shape, str):
            return shape
        _, rows, count = shape
        if isinstance(rows, str):
            return f"its second dimension is 4 + classes, this one is open: {list(shape)}"
        if rows < 5:
            return f"it has at least 5 rows, this output has {rows}"
        if isinstance(count, int) and count < rows > _MOST_ROWS:
            return f"it has a column per prediction, this output {list(shape)} has a row"
        usual = grid_counts(graph, 1)
        if usual and isinstance(count, int) and count not in usual:
            return f"it gives {usual[0]} predictions for this input, this output has {count}"
        return None

    def classes(self, graph: Graph) -> int | None:
        rows = graph.outputs[0].shape[1]
        return rows - 4 if isinstance(rows, int) else None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """`[B, 4 + classes, N]` to detections; the best class of each prediction counts."""
        (output,) = outputs.values()
        found = []
        for raw, view in zip(output, views, strict=True):
            # The maximum over rows runs along memory; the class is looked up for survivors only.
            best = raw[4:].max(axis=0)
            chosen = np.flatnonzero(best > threshold(spec, "score"))
            columns = raw[:, chosen]
            boxes = xywh_to_xyxy(columns[:4].T.astype(np.float32))
            class_ids = columns[4:].argmax(axis=0)
            scores = best[chosen].astype(np.float32)
            found.append(finish(boxes, scores, class_ids, view, spec, peak=peak_of(best)))
        return found


class End2End:
    """Rows of x1, y1, x2, y2 in model pixels, score, class: NMS was done, or is not needed."""

    name = "end2end"
    task = "detect"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=3)
        if isinstance(shape, str):
            return shape
        if shape[2] != 6:
            return f"its rows have 6 values, this output is {list(shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """`[B, N, 6]` to detections."""
        (output,) = outputs.values()
        found = []
        for raw, view in zip(output, views, strict=True):
            # Rows that pad the output may be of class -1.
            real = (raw[:, 4] > threshold(spec, "score")) & (raw[:, 5] >= 0)
            rows = raw[real].astype(np.float32)
            class_ids = rows[:, 5].astype(np.int64)
            found.append(
                finish(
                    rows[:, :4],
                    rows[:, 4],
                    class_ids,
                    view,
                    spec,
                    peak=peak_of(raw[:, 4]),
                    suppress=False,
                )
            )
        return found
