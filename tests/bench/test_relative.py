from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeinfer_bench import Report, merge
from edgeinfer_bench.relative import relatives

MakeReport = Callable[..., Report]


def noisy(seed: int, factor: float = 1.0) -> list[int]:
    random = np.random.default_rng(seed)
    return [int(10e6 * factor * (1 + 0.02 * value)) for value in random.gamma(2, 1, 400)]


def test_equal_models_are_not_told_apart(make_report: MakeReport) -> None:
    _, found = relatives(make_report(noisy(1), noisy(2), frames=400))
    assert found is not None and not found.significant


def test_a_planted_slowdown_is_found(make_report: MakeReport) -> None:
    _, found = relatives(make_report(noisy(1), noisy(2, 1.03), frames=400))
    assert found is not None and found.significant
    assert found.ratio == pytest.approx(1.03, abs=0.01)


def test_runs_of_their_own_are_not_compared(make_report: MakeReport) -> None:
    assert relatives(merge([make_report(), make_report()])) == (None, None)


def test_a_few_blocks_say_nothing(make_report: MakeReport) -> None:
    assert relatives(make_report([5], [6], frames=20)) == (None, None)
