"""Does a peer compute the same? Its answers beside edgeinfer's, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeinfer.metrics.detection import iou_matrix
from edgeinfer.results import Classes, Detections, Tensors
from edgeinfer.tune.parity import LIMITS, rank

_IOU = 0.5
_EDGE_PIXELS = 0.5
_SCORE_THRESHOLD = 0.25


@dataclass(frozen=True)
class Agreement:
    """How far a peer's answers are edgeinfer's.

    Attributes:
        frames: how many were compared; 0 where the answers are of different kinds.
        same: on how many both say the same.
        sentence: for people.
        figures: numbers behind it.
    """

    frames: int
    same: int
    sentence: str
    figures: Mapping[str, float]

    @property
    def complete(self) -> bool:
        """Whether both say the same on every frame."""
        return 0 < self.frames == self.same

    def to_dict(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "same": self.same,
            "sentence": self.sentence,
            "figures": dict(self.figures),
        }


def agreement(
    theirs: Sequence[Mapping[str, Any]],
    ours: Sequence[Any],
    *,
    precision: str = "fp32",
    score_threshold: float = _SCORE_THRESHOLD,
) -> Agreement:
    """Compare answers to the same frames.

    Boxes are the same where each of one side has one of its class at IoU 0.5 on the other, with a
    score as near as `edgeinfer.tune.parity.LIMITS` asks of that precision; a box that only one side
    has is forgiven where its score is that near the threshold. Classes are the same where the best
    one is, raw outputs where shape, mean, deviation and sampled values are.

    Args:
        theirs: what `PeerProcess.answers` gives.
        ours: the typed value of each frame, `Result.value`; raw outputs by name (`Model.raw`) where
            the peer's head is ``tensor``.
        precision: the coarser of both sides.
        score_threshold: of the spec: fainter boxes are on neither side.
    """
    if len(theirs) != len(ours) or not theirs:
        return _apart(f"the peer answered {len(theirs)} frames, edgeinfer {len(ours)}")
    limits = LIMITS[rank(precision)]
    kinds = {next(iter(item)) for item in theirs} | {_kind(item) for item in ours}
    if kinds == {"boxes"}:
        pairs = [_of_boxes(a, b) for a, b in zip(theirs, ours, strict=True)]
        return _boxes(pairs, limits.score, score_threshold)
    if kinds == {"classes"}:
        return _classes(theirs, ours, limits.score)
    if kinds == {"outputs"}:
        return _outputs(theirs, ours, limits.error)
    return _apart(f"the answers are of different kinds ({', '.join(sorted(kinds))})")


def _apart(why: str) -> Agreement:
    return Agreement(0, 0, f"answers are not compared: {why}", {})


def _kind(value: Any) -> str:
    known = {Detections: "boxes", Classes: "classes", Tensors: "outputs"}
    plain = "outputs" if isinstance(value, Mapping) else type(value).__name__
    return known.get(type(value), plain)


@dataclass(frozen=True)
class _Matched:
    """Boxes of one frame: score differences and overlaps of pairs, scores of those left alone."""

    off: list[float]
    overlaps: list[float]
    alone: list[float]


def _of_boxes(answer: Mapping[str, Any], value: Detections) -> _Matched:
    rows = np.asarray(answer["boxes"], np.float64).reshape(-1, 6)
    table = iou_matrix(value.boxes_xyxy, rows[:, 2:])
    # Boxes at the picture's edge may have no area left, and so no overlap with themselves.
    edges = np.abs(value.boxes_xyxy[:, None] - rows[None, :, 2:]).max(axis=2)
    table[edges <= _EDGE_PIXELS] = 1.0
    table *= value.class_ids[:, None] == rows[None, :, 0]
    free = np.ones(len(rows), bool)
    off, overlaps, alone = [], [], []
    for row, score in zip(table, value.scores.tolist(), strict=True):
        usable = np.where(free, row, 0.0)
        best = int(usable.argmax()) if len(rows) else 0
        if not len(rows) or usable[best] < _IOU:
            alone.append(score)
            continue
        free[best] = False
        off.append(abs(score - float(rows[best, 1])))
        overlaps.append(float(usable[best]))
    return _Matched(off, overlaps, alone + rows[free, 1].tolist())


def _boxes(frames: Sequence[_Matched], within: float, threshold: float) -> Agreement:
    same = sum(
        all(off <= within for off in frame.off)
        and all(score <= threshold + within for score in frame.alone)
        for frame in frames
    )
    off = [value for frame in frames for value in frame.off]
    overlaps = [value for frame in frames for value in frame.overlaps]
    alone = sum(len(frame.alone) for frame in frames)
    figures = {
        "boxes_on_both": float(len(off)),
        "boxes_on_one": float(alone),
        "score_difference": max(off, default=0.0),
        "mean_iou": sum(overlaps) / len(overlaps) if overlaps else 1.0,
    }
    told = f"{len(off)} boxes on both sides at IoU {_IOU}"
    if off:
        told += (
            f", scores within {figures['score_difference']:.2g}, mean IoU {figures['mean_iou']:.3f}"
        )
    if alone:
        told += f"; {alone} on one side only"
    return Agreement(len(frames), same, _sentence(same, len(frames), told), figures)


def _classes(
    theirs: Sequence[Mapping[str, Any]], ours: Sequence[Classes], within: float
) -> Agreement:
    same, off = 0, []
    for answer, value in zip(theirs, ours, strict=True):
        given = answer["classes"]
        if not given or not len(value):
            same += bool(given) == bool(len(value))
            continue
        (best, score), *_ = given
        off.append(abs(score - float(value.scores[0])))
        same += best == int(value.class_ids[0]) and off[-1] <= within
    most = max(off, default=0.0)
    told = f"best class, its score within {most:.2g}"
    return Agreement(
        len(theirs), same, _sentence(same, len(theirs), told), {"score_difference": most}
    )


def _outputs(theirs: Sequence[Mapping[str, Any]], ours: Sequence[Any], within: float) -> Agreement:
    off = []
    for answer, value in zip(theirs, ours, strict=True):
        arrays = value.outputs if isinstance(value, Tensors) else value
        off.append(_difference(answer["outputs"], list(arrays.values())))
    same = sum(value <= within for value in off)
    # What is no number counts as the largest.
    most = max((value if value == value else float("inf") for value in off), default=0.0)
    told = f"raw outputs within {most:.2g} of their deviation"
    return Agreement(len(off), same, _sentence(same, len(off), told), {"output_difference": most})


def _difference(summaries: Sequence[Mapping[str, Any]], arrays: Sequence[Any]) -> float:
    """Largest difference of mean, deviation or a sampled value, in deviations of ours."""
    from edgeinfer_bench.peers.by_hand import summary  # it imports OpenCV

    if len(summaries) != len(arrays):
        return float("inf")
    worst = 0.0
    for theirs, array in zip(summaries, arrays, strict=True):
        own = summary(array)
        if own["shape"] != theirs["shape"]:
            return float("inf")
        pairs = [(own["mean"], theirs["mean"]), (own["std"], theirs["std"])]
        pairs += list(zip(own["sample"], theirs["sample"], strict=True))
        for a, b in pairs:
            off = abs(a - b) / (own["std"] or 1.0)
            worst = off if not off <= worst else worst
    return worst


def _sentence(same: int, frames: int, told: str) -> str:
    if same == frames:
        return f"same answers on {same} of {frames} frames ({told})"
    return f"different answers on {frames - same} of {frames} frames ({told})"
