"""Find the graph with the most work in few bits that keeps the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeinfer.errors import CheckFailed
from edgeinfer.evaluate import change_text
from edgeinfer_export.gate.base import Attempt, Judge, KeptFloat, Narrower, Verdict
from edgeinfer_export.gate.blame import Blamed, blame
from edgeinfer_export.gate.groups import Group, groups_of
from edgeinfer_export.quantize.calibration import Calibration

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str, int, int], None]

# Each attempt is a walk over the whole validation data. A number, not a time: the same command
# shall give the same bytes.
MAX_ATTEMPTS = 16
_TRIMS = 4


@dataclass(frozen=True, eq=False)
class Found:
    """A graph that keeps the budget, with the evidence.

    Attributes:
        model: the graph.
        verdict: how good it is.
        loss: what it lost, as a share.
        kept: what stayed in float besides the head.
        attempts: everything that was measured, in order.
    """

    model: onnx.ModelProto
    verdict: Verdict
    loss: float
    kept: tuple[KeptFloat, ...]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, eq=False)
class _Tried:
    """What was measured; the graph itself can be built again and may be big."""

    nodes: frozenset[str]
    verdict: Verdict
    attempt: Attempt


class Search:
    """One search; every attempt is judged on the whole data."""

    def __init__(
        self,
        narrowers: Sequence[Narrower],
        judge: Judge,
        budget: float,
        samples: Calibration,
        tell: Progress,
    ) -> None:
        """Prepare.

        Args:
            narrowers: ways to write the same graph; all are tried before layers stay in float.
            budget: the share of the metric that may be lost.
            samples: to find the layers to blame on.
        """
        self._narrowers, self._judge, self._budget = narrowers, judge, budget
        self._samples, self._tell = samples, tell
        self.attempts: list[Attempt] = []
        self._known: dict[tuple[int, frozenset[str]], _Tried] = {}
        self._narrower = narrowers[0]
        self._groups: tuple[Group, ...] = groups_of(self._narrower.model, self._narrower.head)
        self._macs = sum(group.macs for group in self._groups) or 1

    def run(self) -> Found:
        """Search.

        Raises:
            CheckFailed: if nothing that is narrowed at all keeps the budget, naming the best.
        """
        first = self._best_way()
        if first.attempt.good or len(self._groups) < 2:
            return self._found(first, ())
        ranking = blame(
            self._narrower,
            self._narrower.build(),
            self._groups,
            self._samples,
            lambda done, total: self._tell("find layers to blame", done, total),
        )
        kept, tried = self._bisect(ranking)
        kept, tried = self._trim(kept, tried)
        return self._found(tried, kept)

    def _best_way(self) -> _Tried:
        """All layers in few bits, by the first way that is good enough, else by the best."""
        best: tuple[_Tried, Narrower] | None = None
        for way in self._narrowers:
            self._narrower = way
            tried = self._try(())
            if best is None or _rank(tried.attempt) < _rank(best[0].attempt):
                best = tried, way
            if tried.attempt.good:
                break
        assert best is not None
        self._narrower = best[1]
        return best[0]

    def _bisect(self, ranking: Sequence[Blamed]) -> tuple[tuple[Blamed, ...], _Tried]:
        """The shortest beginning of the ranking that is enough, by doubling and halving."""
        bad, count = 0, 1
        good: _Tried | None = None
        while len(self.attempts) < MAX_ATTEMPTS - _TRIMS:
            tried = self._try(ranking[:count])
            if tried.attempt.good:
                good = tried
                break
            bad = count
            if count == len(ranking) - 1:
                break
            count = min(2 * count, len(ranking) - 1)
        while good is not None and count - bad > 1 and len(self.attempts) < MAX_ATTEMPTS - _TRIMS:
            middle = (bad + count) // 2
            tried = self._try(ranking[:middle])
            if tried.attempt.good:
                good, count = tried, middle
            else:
                bad = middle
        if good is None:
            raise self._cannot()
        return tuple(ranking[:count]), good

    def _trim(self, kept: tuple[Blamed, ...], tried: _Tried) -> tuple[tuple[Blamed, ...], _Tried]:
        """Give the biggest layers back where the budget holds without them."""
        for blamed in sorted(kept, key=lambda one: -one.group.macs)[:_TRIMS]:
            if len(kept) < 2 or len(self.attempts) >= MAX_ATTEMPTS:
                break
            fewer = tuple(one for one in kept if one is not blamed)
            other = self._try(fewer)
            if other.attempt.good:
                kept, tried = fewer, other
        return kept, tried

    def _try(self, kept: Sequence[Blamed]) -> _Tried:
        nodes = frozenset(name for one in kept for name in one.group.nodes)
        key = id(self._narrower), nodes
        if key in self._known:
            return self._known[key]
        self._tell("search", len(self.attempts), MAX_ATTEMPTS)
        model = self._narrower.build(sorted(nodes))
        verdict = self._judge.judge(model)
        lost = self._judge.loss(verdict)
        good = lost <= self._budget and verdict.blind is None and not verdict.apart
        macs = 1 - sum(one.group.macs for one in kept) / self._macs
        attempt = Attempt(len(kept), macs, verdict.value, lost, good)
        self.attempts.append(attempt)
        tried = self._known[key] = _Tried(nodes, verdict, attempt)
        return tried

    def _found(self, tried: _Tried, kept: Sequence[Blamed]) -> Found:
        if not tried.attempt.good:
            raise self._cannot()
        why = tuple(
            KeptFloat(one.group.layer, one.group.nodes, "accuracy", one.sqnr_db, one.gained)
            for one in kept
        )
        model = self._narrower.build(sorted(tried.nodes))
        return Found(model, tried.verdict, tried.attempt.loss, why, tuple(self.attempts))

    def _cannot(self) -> CheckFailed:
        best = min(self.attempts, key=_rank)
        before = self._judge.before.value
        return CheckFailed(
            f"{self._judge.metric} at best {change_text(before, best.value, best.loss)}; "
            f"{self._budget:.2%} is allowed. {len(self.attempts)} "
            f"attempts were measured; the best one kept {best.kept} of {len(self._groups)} layers "
            f"in float ({best.macs:.0%} of the multiplications in {self._narrower.precision}). The "
            f"file was not written. Give more and more typical calibration data, allow a bigger "
            f"drop, or stay with --precision fp16 or fp32."
        )


def _rank(attempt: Attempt) -> float:
    return math.inf if math.isnan(attempt.loss) else attempt.loss
