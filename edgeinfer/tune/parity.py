"""Does a candidate say what the reference says? Fixed limits by the precision it computes in.

The raw outputs tell rounding from faults; boxes, scores and classes tell what a lower precision
did to the answers. Boxes and scores are judged apart: one scale over both can leave the boxes as
they were and every score at zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeinfer.frames import Array
from edgeinfer.metrics.detection import iou_matrix
from edgeinfer.records import dataclass

_IOU = 0.5
_RANKS = {"": 0, "fp64": 0, "fp32": 0, "tf32": 1, "fp16": 1, "bf16": 1}
_LOWEST = 2


def rank(precision: str) -> int:
    """How coarse a precision is: 0 for FP32, 1 for halves, 2 for integers and the unknown."""
    return _RANKS.get(precision, _LOWEST)


@dataclass(frozen=True)
class Limits:
    """How far a candidate may be from the reference.

    Attributes:
        outputs: largest difference of any output over that output's range; None where answers
            alone are judged.
        agreement: least share of answers that both give: boxes of one class at IoU 0.5, or best
            classes; of a model whose outputs are plain tensors, see `error`. A box that one of the
            two gives is given by the other, too, where that one's score is no further below the
            threshold than `score`.
        iou: least mean overlap of the boxes that both give.
        score: largest mean difference of their scores.
        error: largest root-mean-square difference of an output over the reference's own
            root mean square, for plain tensors.
    """

    outputs: float | None
    agreement: float
    iou: float
    score: float
    error: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "outputs": self.outputs,
            "agreement": self.agreement,
            "iou": self.iou,
            "score": self.score,
            "error": self.error,
        }


# By `rank`: another order of the same sums; a shorter mantissa; eight bits. What the last two do to
# a network is known by its answers only: export's own check warns below 80% and most networks that
# quantize well keep 95% and more (docs of `edgeinfer_export.steps.agreement`).
LIMITS: Mapping[int, Limits] = MappingProxyType(
    {
        0: Limits(outputs=1e-3, agreement=0.99, iou=0.95, score=0.01, error=1e-3),
        1: Limits(outputs=None, agreement=0.95, iou=0.9, score=0.03, error=2e-2),
        2: Limits(outputs=None, agreement=0.9, iou=0.8, score=0.1, error=5e-2),
    }
)
NAMES = MappingProxyType({0: "same precision", 1: "half precision", 2: "integer precision"})


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said to one frame.

    Attributes:
        outputs: as they left the graph.
        scores, classes: `(N,)`, best first; boxes: `(N, 4)` xyxy in pixels. None where the task
            has none. Weak ones are there, too, from half the threshold.
    """

    outputs: tuple[Array, ...]
    scores: Array | None
    classes: Array | None
    boxes: Array | None


def read_answers(folder: Path, frames: int, outputs: int) -> list[Answers]:
    """What a candidate wrote to its folder."""
    found = []
    for index in range(frames):
        with np.load(folder / f"{index}.npz") as held:
            raw = tuple(held[f"output{at}"] for at in range(outputs))
            kept = {name: held[name] for name in ("scores", "classes", "boxes") if name in held}
        found.append(Answers(raw, kept.get("scores"), kept.get("classes"), kept.get("boxes")))
    return found


def objects(answers: Sequence[Answers], score: float) -> int:
    """How many things the reference is sure of: boxes above the threshold."""
    return sum(int((item.scores >= score).sum()) for item in answers if item.scores is not None)


def all_finite(answers: Answers) -> bool:
    """Whether there is a number in every place of every output."""
    return all(bool(np.isfinite(x).all()) for x in answers.outputs if x.dtype.kind == "f")


def compare(
    reference: Sequence[Answers], other: Sequence[Answers], score: float, within: float
) -> dict[str, float | None]:
    """Figures of two models' answers to the same frames; see `Limits`.

    A box counts where either is sure of it; it is found where the other has one of its class and
    place, sure or with a score so near the threshold that rounding explains it. How many appeared
    or vanished in that way is ``near``, None where there are no boxes.

    Args:
        score: threshold from which on a model is sure. within: how far below that is near.
    """
    figures: dict[str, float | None] = {
        "outputs": max(_difference(a, b) for a, b in zip(reference, other, strict=True)),
        "agreement": None,
        "iou": None,
        "score": None,
        "error": None,
        "near": None,
    }
    first = reference[0]
    if first.boxes is not None:
        figures.update(_boxes(reference, other, score, within))
    elif first.classes is not None:
        figures.update(_classes(reference, other))
    else:
        figures["error"] = max(_error(a, b) for a, b in zip(reference, other, strict=True))
    return figures


def why_not(figures: Mapping[str, float | None], limits: Limits) -> str | None:
    """Which limit is broken, or None; what is no number breaks every limit."""
    checks = (
        ("outputs", limits.outputs, "its outputs differ by {:.1e} of their range, more than {:g}"),
        ("error", limits.error, "its outputs are off by {:.1e} of their size, more than {:g}"),
        ("score", limits.score, "its scores differ by {:.3f} on average, more than {:g}"),
    )
    for key, most, words in checks:
        value = figures[key]
        if value is not None and most is not None and not value <= most:
            return words.format(value, most)
    lowest = (
        ("agreement", limits.agreement, "it gives {:.0%} of the same answers, less than {:.0%}"),
        ("iou", limits.iou, "its boxes overlap the reference's by {:.2f}, less than {:g}"),
    )
    for key, least, words in lowest:
        value = figures[key]
        if value is not None and not value >= least:
            return words.format(value, least)
    return None


def _difference(a: Answers, b: Answers) -> float:
    """Largest difference over the range, for detectors that of each channel on its own."""
    worst = 0.0
    for x, y in _comparable(a, b):
        if a.boxes is not None and x.ndim == 3:
            # (1, 4 + classes, boxes) or (1, boxes, 6): boxes in hundreds of pixels would hide any
            # difference of scores, and scores that are all next to 0 have no range.
            across = (0, 2) if x.shape[1] <= x.shape[2] else (0, 1)
            spread = np.maximum(np.ptp(x, axis=across), min(1.0, float(np.ptp(x)) or 1.0))
            off = float((np.abs(x - y).max(axis=across) / spread).max())
        else:
            off = float(np.abs(x - y).max()) / (float(np.ptp(x)) or 1.0)
        worst = off if not off <= worst else worst
    return worst


def _comparable(a: Answers, b: Answers) -> Iterator[tuple[Array, Array]]:
    """Outputs of numbers; those of varying length (boxes after suppression) only answers judge."""
    for first, second in zip(a.outputs, b.outputs, strict=True):
        if first.shape == second.shape and first.dtype.kind in "fiu" and first.size:
            yield first.astype(np.float64), second.astype(np.float64)


def _error(a: Answers, b: Answers) -> float:
    worst = 0.0
    for x, y in _comparable(a, b):
        size = float(np.sqrt(np.mean(x * x))) or 1.0
        off = float(np.sqrt(np.mean((x - y) ** 2))) / size
        worst = off if not off <= worst else worst
    return worst


def _classes(reference: Sequence[Answers], other: Sequence[Answers]) -> dict[str, float | None]:
    same, off = [], []
    for a, b in zip(reference, other, strict=True):
        assert a.classes is not None and b.classes is not None
        assert a.scores is not None and b.scores is not None
        if not len(a.classes):
            continue
        agrees = len(b.classes) > 0 and a.classes[0] == b.classes[0]
        same.append(float(agrees))
        if agrees:
            off.append(abs(float(a.scores[0]) - float(b.scores[0])))
    return {"agreement": _mean(same), "score": _mean(off)}


def _boxes(
    reference: Sequence[Answers], other: Sequence[Answers], score: float, within: float
) -> dict[str, float | None]:
    near = 0
    found: list[float] = []
    overlaps: list[float] = []
    off: list[float] = []
    for a, b in zip(reference, other, strict=True):
        for sure, weak, forward in ((a, b, True), (b, a, False)):
            pairs, chosen = _matched(sure, weak, score)
            # Scores are float32: one that is exactly at the limit is within it.
            given = [pair for pair in pairs if pair[2] >= score - within - 1e-6]
            found += [1.0] * len(given) + [0.0] * (chosen - len(given))
            near += sum(lesser < score for _, _, lesser in given)
            if forward:
                overlaps += [iou for iou, _, _ in pairs]
                off += [difference for _, difference, _ in pairs]
    return {
        "agreement": _mean(found),
        "iou": _mean(overlaps),
        "score": _mean(off),
        "near": float(near),
    }


def _matched(
    sure: Answers, weak: Answers, score: float
) -> tuple[list[tuple[float, float, float]], int]:
    """Of every sure box that the other has at all: IoU, difference of scores, the other's score;
    and how many sure boxes there are."""
    assert sure.boxes is not None and sure.scores is not None and sure.classes is not None
    assert weak.boxes is not None and weak.scores is not None and weak.classes is not None
    chosen = np.flatnonzero(sure.scores >= score)
    table = iou_matrix(sure.boxes[chosen], weak.boxes)
    table *= sure.classes[chosen][:, None] == weak.classes[None, :]
    free = np.ones(len(weak.scores), bool)
    pairs = []
    for row, at in zip(table, chosen, strict=True):
        usable = np.where(free, row, -1.0)
        if usable.size and usable.max() >= _IOU:
            best = int(usable.argmax())
            free[best] = False
            lesser = float(weak.scores[best])
            pairs.append((float(row[best]), abs(float(sure.scores[at]) - lesser), lesser))
    return pairs, len(chosen)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
