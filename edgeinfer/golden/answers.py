"""Typed results against golden ones: the same things in the same places, as sure as then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeinfer.metrics import iou_matrix
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class Limits:
    """How far a typed result may be from the golden one.

    Attributes:
        iou: least overlap of two boxes that are the same.
        score: largest difference of two scores; what is surer than the threshold by less may be
            missing on one side.
    """

    iou: float
    score: float


LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        "fp32": Limits(iou=0.95, score=0.01),
        "fp16": Limits(iou=0.9, score=0.03),
        "tf32": Limits(iou=0.9, score=0.03),
        "bf16": Limits(iou=0.8, score=0.1),
        "int8": Limits(iou=0.6, score=0.1),
    }
)
# Lists of things with a score, by the key that holds them.
_BOXES = ("detections", "instances", "lines")


def differences(
    wanted: Mapping[str, Any], got: Mapping[str, Any], limits: Limits, threshold: float
) -> list[str]:
    """What is not the same, for people; values without scores are judged by the raw outputs."""
    for key in _BOXES:
        if isinstance(wanted.get(key), list):
            return _boxes(wanted[key], list(got.get(key, ())), limits, threshold)
    if isinstance(wanted.get("classes"), list):
        return _classes(wanted["classes"], list(got.get("classes", ())), limits)
    return []


def _classes(wanted: Sequence[Any], got: Sequence[Any], limits: Limits) -> list[str]:
    """The best class decides, unless two were nearly as good."""
    if not wanted or not got:
        return [] if len(wanted) == len(got) else [f"{len(got)} classes in place of {len(wanted)}"]
    first, now = wanted[0], got[0]
    scores = {item["class_id"]: item["score"] for item in wanted}
    if now["class_id"] != first["class_id"]:
        then = scores.get(now["class_id"], 0.0)
        if first["score"] - then > 2 * limits.score:
            return [
                f"{now['label']} ({now['score']:.3f}) in place of {first['label']} "
                f"({first['score']:.3f})"
            ]
    elif abs(now["score"] - first["score"]) > limits.score:
        return [f"{first['label']} with {now['score']:.3f} in place of {first['score']:.3f}"]
    return []


def _boxes(
    wanted: Sequence[Any], got: Sequence[Any], limits: Limits, threshold: float
) -> list[str]:
    pairs = _pairs(wanted, got, limits.iou)
    said = []
    for index, item in enumerate(wanted):
        other = pairs.get(index)
        if other is None:
            if item["score"] > threshold + limits.score:
                said.append(f"{_named(item)} is missing")
        elif abs(got[other]["score"] - item["score"]) > limits.score:
            said.append(f"{_named(item)} has the score {got[other]['score']:.3f}")
        elif got[other].get("text") != item.get("text"):
            said.append(f"'{got[other].get('text')}' was read in place of '{item.get('text')}'")
    taken = set(pairs.values())
    said += [
        f"{_named(item)} was not there"
        for index, item in enumerate(got)
        if index not in taken and item["score"] > threshold + limits.score
    ]
    return said


def _pairs(wanted: Sequence[Any], got: Sequence[Any], least: float) -> dict[int, int]:
    """Which of the new things is which golden one, best score first, one to one."""
    if not wanted or not got:
        return {}
    overlaps = iou_matrix(_corners(wanted), _corners(got))
    names = np.array([item.get("class_id", 0) for item in wanted])[:, None]
    overlaps = overlaps * (names == np.array([item.get("class_id", 0) for item in got])[None])
    pairs: dict[int, int] = {}
    free = np.ones(len(got), bool)
    for index, row in enumerate(overlaps):
        usable = np.where(free, row, -1.0)
        best = int(usable.argmax())
        if usable[best] >= least:
            free[best] = False
            pairs[index] = best
    return pairs


def _corners(items: Sequence[Any]) -> Any:
    """`(N, 4)` boxes; of what has none, the box around its points, else a place in the list."""
    corners = []
    for index, item in enumerate(items):
        box = item.get("box_xyxy")
        points = item.get("polygon_xy") or item.get("keypoints_xys")
        if box is None and points:
            places = np.array(points, np.float64)[:, :2]
            box = [*places.min(axis=0), *places.max(axis=0)]
        corners.append(box or [index, 0, index + 1, 1])
    return np.array(corners, np.float64)


def _named(item: Mapping[str, Any]) -> str:
    box = item.get("box_xyxy")
    where = "" if box is None else f" at {[round(edge) for edge in box]}"
    return f"{item.get('label', 'one')} ({item['score']:.3f}){where}"
