from __future__ import annotations

import pytest

from edgeinfer_bench.warmup import LEAST_FRAMES, settled, still_warming

MS = 1_000_000


def test_fewer_than_ten_frames_settle_nothing() -> None:
    assert not settled([MS] * (LEAST_FRAMES - 1))
    assert settled([MS] * LEAST_FRAMES)


def test_frames_settle_when_the_last_five_take_what_the_five_before_took() -> None:
    falling = [MS * (20 - index) for index in range(10)]
    assert not settled(falling)
    assert not settled([*falling, *[10 * MS] * 5])
    assert settled([*falling, *[10 * MS] * 10])


@pytest.mark.parametrize(
    ("after", "same"), [(1_049_000, True), (951_000, True), (1_051_000, False), (949_000, False)]
)
def test_five_percent_either_way_are_the_same(after: int, same: bool) -> None:
    assert settled([MS] * 5 + [after] * 5) is same


def test_one_slow_frame_unsettles_nothing() -> None:
    assert settled([MS] * 7 + [50 * MS] + [MS] * 2)


def test_a_first_fifth_that_is_slower_by_a_tenth_was_still_warming() -> None:
    assert still_warming([1200] * 20 + [1000] * 80) == pytest.approx(0.2)
    assert still_warming([1090] * 20 + [1000] * 80) is None
    assert still_warming([900] * 20 + [1000] * 80) is None


def test_a_few_frames_do_not_tell_whether_they_were_still_warming() -> None:
    assert still_warming([9000] * 4 + [1000] * 20) is None
    assert still_warming([9000] * 5 + [1000] * 20) == pytest.approx(8.0)
    assert still_warming([]) is None
