"""Keeps the reference's answers and says who may be chosen."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import EdgeInferError
from edgeinfer.evaluate import change_text, loss
from edgeinfer.tune.candidate import Candidate
from edgeinfer.tune.frames import Material
from edgeinfer.tune.options import TuneOptions
from edgeinfer.tune.parity import (
    LIMITS,
    NAMES,
    Answers,
    all_finite,
    compare,
    objects,
    rank,
    why_not,
)

_GIVE = "give pictures with objects on them (tune MODEL SOURCE) or labelled data (--validation)"


class Judge:
    """Compares candidates with the reference on the same frames.

    Args:
        reference: opened.
        folder: where answers may be written.
    """

    def __init__(
        self, reference: Candidate, material: Material, folder: Path, asked: TuneOptions
    ) -> None:
        self._reference = reference
        self.material = material
        self._folder = folder
        self._asked = asked
        self._answers: list[Answers] = []
        spec = reference.opened["spec"]
        self._task = spec["task"]
        self._score = float(spec["thresholds"].get("score", 0.0))
        self._metrics: dict[str, dict[str, Any]] = {}
        self._asked_times = 0
        self.objects = 0

    def answer_reference(self) -> None:
        """Take the reference's answers.

        Raises:
            EdgeInferError: if it cannot answer, or what it says is not finite.
        """
        folder = self._begin(self._reference)
        self._answers = self._reference.answers(self.material.count, folder)
        if not all(all_finite(one) for one in self._answers):
            raise EdgeInferError(
                f"What the model itself gives on {self.material.origin} is not finite (NaN or "
                f"infinite), so no choice can be compared with it and nothing is stored. Give "
                f"frames on which it works (tune MODEL SOURCE), or mend the model."
            )
        self.objects = objects(self._answers, self._score) if self._task == "detect" else 0
        same = compare(self._answers, self._answers, self._score, LIMITS[0].score)
        self._reference.parity = {"limits": NAMES[0], **same}
        shutil.rmtree(folder)

    @property
    def telling(self) -> bool:
        """Whether the frames hold what the model looks for, so that answers can be judged."""
        return self.material.real and (self._task != "detect" or self.objects > 0)

    def answer(self, candidates: Sequence[Candidate]) -> None:
        """Let candidates answer, side by side, and reject those that differ too much."""
        begun = [(one, self._begun(one)) for one in candidates]
        for one, folder in begun:
            if folder is None:
                continue
            try:
                given = one.answers(self.material.count, folder)
                reason = self._why_not(one, given)
            except (EdgeInferError, OSError, KeyError) as error:
                reason = f"answering failed: {error}"
            shutil.rmtree(folder, ignore_errors=True)
            if reason is not None:
                one.reject(reason)

    def _begun(self, one: Candidate) -> Path | None:
        try:
            return self._begin(one)
        except EdgeInferError as error:
            one.reject(f"answering failed: {error}")
            return None

    def _begin(self, one: Candidate) -> Path:
        self._asked_times += 1
        folder = self._folder / f"answers-{self._asked_times}"
        folder.mkdir()
        one.begin_answers(self.material.folder, folder)
        return folder

    def _level(self, one: Candidate) -> int:
        """By which limits it is judged: how much coarser it computes than the reference."""
        own, reference = rank(one.precision), rank(self._reference.precision)
        return own if own > reference or own == rank("int8") else 0

    def _why_not(self, one: Candidate, given: Sequence[Answers]) -> str | None:
        reason = self._another_meaning(one)
        if reason is not None:
            return reason
        if len(given[0].outputs) != len(self._answers[0].outputs):
            return "it has another number of outputs than the reference"
        level = self._level(one)
        figures = compare(self._answers, given, self._score, LIMITS[level].score)
        one.parity = {"limits": NAMES[level], **figures}
        coarser = rank(one.precision) > rank(self._reference.precision)
        narrow = compare(self._answers, given, self._score, LIMITS[0].score) if level else figures
        strict = why_not(narrow, LIMITS[0])
        if level == 0 or (strict is None and not coarser):
            return strict
        if self._asked.validation is not None:
            return None  # the metric decides, see `evaluate`
        if not self.telling:
            return f"it computes in {one.precision}, and nothing here shows what that does: {_GIVE}"
        return why_not(figures, LIMITS[level])

    def _another_meaning(self, one: Candidate) -> str | None:
        """Variants must mean the same, or their answers cannot be exchanged."""
        ours, theirs = self._reference.opened["spec"], one.opened["spec"]
        for key in ("task", "head", "labels", "thresholds"):
            if ours[key] != theirs[key]:
                return f"its spec differs from the reference's in '{key}'"
        return None

    def evaluate(self, candidates: Sequence[Candidate], say: Callable[[str], None]) -> None:
        """Judge those of lower precision by the task's metric, where there are labelled data."""
        dataset = self._asked.validation
        if dataset is None:
            return
        for one in candidates:
            if self._level(one) == 0 or one.rejected is not None:
                continue
            try:
                before = self._metric(self._reference, dataset, say)
                after = self._metric(one, dataset, say)
            except EdgeInferError as error:
                one.reject(f"judging it by {dataset} failed: {error}")
                continue
            name, old, new = before["metric"], before["value"], after["value"]
            lost = loss(old, new, name)
            one.parity = {**(one.parity or {}), "metric": {"before": before, "after": after}}
            if math.isnan(loss(old, old, name)):
                one.reject(
                    f"the reference itself reaches {name} {old:.4f} on {dataset}, where nothing "
                    f"shows what a lower precision loses"
                )
            elif not lost <= self._asked.max_drop:
                one.reject(
                    f"its {name} {change_text(old, new, lost)}; "
                    f"{self._asked.max_drop:.2%} is allowed"
                )

    def _metric(self, one: Candidate, dataset: str, say: Callable[[str], None]) -> dict[str, Any]:
        """Its metric; of those that compute the same numbers one is judged for all."""
        choice = one.choice
        key = f"{choice.variant} {choice.provider} {sorted(choice.options.items())}"
        if key not in self._metrics:
            say(f"judging {choice.text()} by {dataset}")
            self._metrics[key] = one.evaluate(dataset)
        return self._metrics[key]

    def notes(self) -> list[str]:
        """What a reader of the parity figures must know."""
        if not self.material.real:
            return [
                f"outputs were compared on made-up frames only, so no lower precision was chosen: "
                f"{_GIVE}"
            ]
        if self._task == "detect" and not self.objects:
            return [
                f"the reference finds nothing on {self.material.origin}, so outputs were compared "
                f"as numbers only and no lower precision was chosen by them: {_GIVE}"
            ]
        return []

    def to_dict(self) -> dict[str, Any]:
        """How it judged, for the plan's document."""
        return {
            "reference": self._reference.choice.to_dict(),
            "frames": self.material.count,
            "of": self.material.origin,
            "objects": self.objects if self._task == "detect" else None,
            "limits": {NAMES[level]: limits.to_dict() for level, limits in LIMITS.items()},
            "validation": self._asked.validation,
            "max_drop": self._asked.max_drop if self._asked.validation else None,
        }
