from __future__ import annotations

import pytest

from edgeinfer.errors import UsageError
from edgeinfer_bench import BenchOptions


def test_without_a_limit_a_thousand_frames_or_twenty_seconds_are_measured() -> None:
    options = BenchOptions()
    assert (options.max_frames, options.max_duration_s) == (1000, 20.0)


def test_a_limit_that_is_given_replaces_both_defaults() -> None:
    assert BenchOptions(frames=5).max_duration_s is None
    assert BenchOptions(duration_s=2).max_frames is None


def test_an_unknown_scenario_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"'singel'.*'single'"):
        BenchOptions(scenario="singel")


@pytest.mark.parametrize(
    "values",
    [
        {"frames": 0},
        {"duration_s": 0.0},
        {"duration_s": float("nan")},
        {"duration_s": float("inf")},
        {"warmup": -1},
        {"block": 0},
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values)).partition("_")[0]):
        BenchOptions(**values)  # type: ignore[arg-type]  # the parameters of this test
