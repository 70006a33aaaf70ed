"""Text by connectionist temporal classification: `[1, T, C]` or `[T, 1, C]` scores of letters.

Greedy decoding (Graves et al. 2006): the best class of each step, repetitions merged, blanks left
out. The score is the mean probability of the steps that wrote a letter, as PaddleOCR has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View, only_output
from edgeinfer.heads.boxes import Floats
from edgeinfer.results import TextLines
from edgeinfer.spec import ModelSpec


class Ctc:
    """Letters by step.

    Labels are the charset, a letter each; an empty label is a space. A model with C classes takes
    C labels (one of them stands for the blank), C - 1 (the blank is not among them), or C - 2 (the
    last class is a space, as PaddleOCR adds one to its lists).

    Options: ``blank``: its class, 0 (the default: PaddleOCR, PyTorch) or ``last`` (Keras), or any
    number; ``time_axis``: 1 for `[1, T, C]` (the default), 0 for `[T, 1, C]` (PyTorch's CRNN).
    """

    name = "ctc"
    task = "text-recognize"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=3)
        if isinstance(shape, str):
            return shape
        if isinstance(shape[2], int) and shape[2] < 2:
            return f"it tells a blank and at least one letter apart, this output is {list(shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        # The charset may leave out the blank, or a space: see `charset`.
        return None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[TextLines]:
        """Scores of letters to one line of text."""
        (output,) = outputs.values()
        default = 0 if output.shape[1] == 1 < output.shape[0] else 1
        if spec.head_options.get("time_axis", default) == 0:
            output = output.transpose(1, 0, 2)
        letters = charset(spec, output.shape[2])
        return [_read(raw, letters, spec) for raw, _ in zip(output, views, strict=True)]


def blank_of(spec: ModelSpec, classes: int) -> int:
    """The class that writes nothing."""
    blank = spec.head_options.get("blank", 0)
    return classes - 1 if blank == "last" else int(blank)


def charset(spec: ModelSpec, classes: int) -> list[str]:
    """The letter of each class; the blank's is empty.

    Raises:
        SpecError: if there are no labels, or their number fits no rule.
    """
    labels = [label or " " for label in spec.labels]
    blank = blank_of(spec, classes)
    if not 0 <= blank < classes:
        raise SpecError(f"The blank is class {blank}; the model has {classes} classes from 0.")
    if len(labels) == classes - 2:
        labels.append(" ")
    if len(labels) == classes - 1:
        labels.insert(blank, "")
    if len(labels) != classes:
        raise SpecError(
            f"The head 'ctc' has {classes} classes, one of them blank, and {len(spec.labels)} "
            f"labels: give its charset with --labels FILE, a letter on each of {classes - 1} "
            f"lines, in the model's order."
        )
    labels[blank] = ""
    return labels


def _read(raw: Array, letters: list[str], spec: ModelSpec) -> TextLines:
    if not len(raw):
        return TextLines(np.zeros(0, np.float32))
    best = raw.argmax(axis=1)
    blank = blank_of(spec, raw.shape[1])
    written = best != blank
    written[1:] &= best[1:] != best[:-1]
    steps = np.flatnonzero(written)
    text = "".join(letters[number] for number in best[steps].tolist())
    sure = _probabilities(raw)[np.arange(len(best)), best]
    flags = () if np.isfinite(np.add.reduce(sure)) else ("nonfinite",)
    score = float(sure[steps].mean()) if len(steps) else 0.0
    least = spec.thresholds.get("score", 0.0)
    if not len(steps) or score < least:
        return TextLines(np.zeros(0, np.float32), flags=flags)
    return TextLines(np.array([score], np.float32), (text,), None, flags)


def _probabilities(raw: Array) -> Floats:
    """Rows that add up to 1 are taken as they are; others are logits or their logarithms."""
    rows = raw.astype(np.float32, copy=False)
    if rows.min() >= 0 and abs(float(rows[0].sum()) - 1) < 1e-2:
        return rows
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
