"""Masks beside boxes: YOLOv8-seg and its successors, `[1, 4 + classes + M, N]` and `[1, M, h, w]`.

Each prediction mixes the M prototype maps with weights of its own; where the mixture is positive
inside the box, there is the object (Bolya et al. 2019, https://arxiv.org/abs/1904.02689, as in
Ultralytics' export, https://docs.ultralytics.com/tasks/segment). Exported end to end, the first
output is `[1, N, 6 + M]`: corners, score, class, weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.geometry import Affine
from edgeinfer.heads.base import Graph, View, grid_counts
from edgeinfer.heads.boxes import Floats, peak_of, threshold, xywh_to_xyxy
from edgeinfer.heads.instances import chosen, in_frame, input_hw
from edgeinfer.packages import opencv
from edgeinfer.results import Mask, Segments
from edgeinfer.spec import ModelSpec


class YoloV8Seg:
    """Columns of centre x, centre y, width, height, a score per class, then the mask's weights.

    Options: ``end2end`` (rows of corners, score, class, weights).
    """

    name = "yolov8-seg"
    task = "segment"

    def why_not(self, graph: Graph) -> str | None:
        shapes = sorted((item.shape for item in graph.outputs), key=len)
        if [len(shape) for shape in shapes] != [3, 4]:
            listed = ", ".join(str(list(shape)) for shape in shapes)
            return f"it has an output of 3 and one of 4 dimensions, this graph has {listed}"
        predictions, prototypes = shapes
        end2end = bool(graph.options.get("end2end"))
        size, maps = predictions[2 if end2end else 1], prototypes[1]
        if isinstance(size, int) and isinstance(maps, int):
            if end2end and size != 6 + maps:
                return f"with {maps} prototypes its rows have {6 + maps} values, this one {size}"
            if size < 5 + maps:
                return f"with {maps} prototypes it has {5 + maps} rows or more, this one {size}"
        usual = () if end2end else grid_counts(graph, 1)
        if usual and isinstance(predictions[2], int) and predictions[2] not in usual:
            return f"it gives {usual[0]} predictions for this input, this one {predictions[2]}"
        return None

    def classes(self, graph: Graph) -> int | None:
        predictions, prototypes = sorted((item.shape for item in graph.outputs), key=len)
        rows, maps = predictions[1], prototypes[1]
        if graph.options.get("end2end") or isinstance(rows, str) or isinstance(maps, str):
            return None
        return rows - 4 - maps

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Segments]:
        """Predictions and prototypes to boxes and masks; the best class counts."""
        predictions, prototypes = sorted(outputs.values(), key=lambda array: array.ndim)
        end2end = bool(spec.head_options.get("end2end"))
        if predictions.shape[2 if end2end else 1] < 5 + prototypes.shape[1]:
            raise SpecError(
                f"The head '{self.name}' got predictions of {list(predictions.shape)} and "
                f"prototypes of {list(prototypes.shape)}, which do not fit each other: give the "
                f"right head with --head."
            )
        found = []
        for raw, maps, view in zip(predictions, prototypes, views, strict=True):
            if end2end:
                rows = raw[raw[:, 4] > threshold(spec, "score")].astype(np.float32)
                boxes, scores, weights = rows[:, :4], rows[:, 4], rows[:, 6:]
                class_ids, peak = rows[:, 5].astype(np.int64), peak_of(raw[:, 4])
            else:
                best = raw[4 : len(raw) - len(maps)].max(axis=0)
                columns = raw[:, np.flatnonzero(best > threshold(spec, "score"))]
                columns = columns.astype(np.float32)
                boxes, weights = xywh_to_xyxy(columns[:4].T), columns[len(raw) - len(maps) :].T
                each = columns[4 : len(raw) - len(maps)]
                class_ids, scores, peak = each.argmax(axis=0), each.max(axis=0), peak_of(best)
            kept, flags = chosen(boxes, scores, class_ids, spec, peak=peak, suppress=not end2end)
            placed = in_frame(boxes[kept], view)
            masks = _masks(weights[kept], maps, placed, view, spec)
            found.append(Segments(placed, scores[kept], class_ids[kept], spec.labels, flags, masks))
        return found


def _masks(
    weights: Floats, maps: Array, boxes: Floats, view: View, spec: ModelSpec
) -> tuple[Mask, ...]:
    """The mask of each box, `(N, 4)` in frame pixels, over the frame's pixels."""
    model_hw = input_hw(spec)
    frame_wh = view.frame_wh or (model_hw[1], model_hw[0])
    warp = to_map(view.to_frame, model_hw, (maps.shape[1], maps.shape[2]))
    rows = zip(weights, boxes.tolist(), strict=True)
    return tuple(_mask(each, maps, box, warp, frame_wh) for each, box in rows)


def to_map(to_frame: Affine, model_hw: tuple[int, int], map_hw: tuple[int, int]) -> Array:
    """`(2, 3)` float64 from pixel numbers of the frame to pixel numbers of a map of the model's
    input; a pixel's number is where its centre lies, less a half."""
    (sx, _, tx), (_, sy, ty) = to_frame.matrix.tolist()
    fx, fy = map_hw[1] / model_hw[1] / sx, map_hw[0] / model_hw[0] / sy
    return np.array(
        [[fx, 0.0, (0.5 - tx) * fx - 0.5], [0.0, fy, (0.5 - ty) * fy - 0.5]], np.float64
    )


def _mask(
    weights: Floats, maps: Array, box: list[float], warp: Array, frame_wh: tuple[int, int]
) -> Mask:
    """The pixels whose centre lies in the box and where the mixture, read between its own pixels,
    is positive. Only the part of the maps under the box is mixed."""
    cv2 = opencv()
    x0, y0 = (max(0, int(np.ceil(edge - 0.5))) for edge in box[:2])
    x1 = min(frame_wh[0], int(np.ceil(box[2] - 0.5)))
    y1 = min(frame_wh[1], int(np.ceil(box[3] - 0.5)))
    if x1 <= x0 or y1 <= y0:
        return Mask((0, 0), np.zeros((0, 0), bool), frame_wh)
    scale, shift = warp[[0, 1], [0, 1]], warp[:, 2]
    limit = np.array([maps.shape[2], maps.shape[1]])
    low = np.clip(np.floor(scale * (x0, y0) + shift), 0, limit - 1).astype(int)
    high = np.clip(np.floor(scale * (x1 - 1, y1 - 1) + shift) + 2, low + 1, limit).astype(int)
    part = maps[:, low[1] : high[1], low[0] : high[0]].astype(np.float32, copy=False)
    mixed = (weights @ part.reshape(len(maps), -1)).reshape(part.shape[1:])
    inside = np.array([[scale[0], 0, 0], [0, scale[1], 0]])
    inside[:, 2] = scale * (x0, y0) + shift - low
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    values = cv2.warpAffine(
        mixed, inside, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return Mask((x0, y0), values > 0, frame_wh)
