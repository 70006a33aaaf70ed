"""How well text is read."""

from __future__ import annotations

import math

from edgeinfer.records import dataclass


@dataclass(frozen=True)
class TextScores:
    """NaN where nothing was added.

    Attributes:
        cer: character error rate: letters to change, add or remove over letters that are there.
        char_accuracy: 1 - cer, never below 0.
        exact: share of lines that are right to the letter.
    """

    cer: float
    char_accuracy: float
    exact: float


class TextMetric:
    """Collects lines one by one."""

    def __init__(self) -> None:
        self._lines = self._exact = self._letters = self._wrong = 0

    def add(self, said: str, truth: str) -> None:
        """Count one line."""
        self._lines += 1
        self._exact += said == truth
        self._letters += len(truth)
        self._wrong += edit_distance(said, truth)

    def result(self) -> TextScores:
        """The figures over everything that was added."""
        if not self._lines:
            return TextScores(math.nan, math.nan, math.nan)
        exact = self._exact / self._lines
        if not self._letters:
            return TextScores(math.nan, math.nan, exact)
        cer = self._wrong / self._letters
        return TextScores(cer, max(0.0, 1 - cer), exact)


def edit_distance(one: str, other: str) -> int:
    """Fewest letters to change, add or remove (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, start=1):
        before, row[0] = row[0], number
        for column, target in enumerate(other, start=1):
            cost = min(row[column] + 1, row[column - 1] + 1, before + (letter != target))
            before, row[column] = row[column], cost
    return row[-1]
