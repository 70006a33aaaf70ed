from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeinfer.frames import Array, Frame
from edgeinfer.spec import ModelSpec
from edgeinfer.testing import FakeClock, StubModel, StubSource
from edgeinfer_bench.feed import Feed
from edgeinfer_bench.loops import Bench
from edgeinfer_bench.probe import from_cache, take_pairs, varied

MS = 1_000_000


def bench_of(clock: FakeClock, model: StubModel) -> Bench:
    """A bench whose first frame was answered."""
    feed = Feed(StubSource(clock, 4), clock)
    bench = Bench(model, feed, [model], clock, clock.wait_until)
    frame = feed.next()
    assert frame is not None
    bench.note(model.predict(frame), frame)
    return bench


def test_a_model_that_remembers_frames_is_caught(clock: FakeClock) -> None:
    fresh, again = take_pairs(bench_of(clock, StubModel(clock, caches=True)))
    assert fresh == [MS] * 8 and again == [1000] * 8
    assert from_cache(fresh, again)


def test_a_model_that_computes_every_frame_is_not(clock: FakeClock) -> None:
    # A spread as of real boxes, and now and then a slow frame.
    random = np.random.default_rng(1)
    latencies = (MS * (1 + 0.2 * random.pareto(2, 16))).astype(int).tolist()
    fresh, again = take_pairs(bench_of(clock, StubModel(clock, latencies)))
    assert len(fresh) == len(again) == 8
    assert not from_cache(fresh, again)


def test_threads_that_fell_asleep_while_noise_was_made_are_no_cache(clock: FakeClock) -> None:
    """The first frame after the noise wakes them, and it is none of a pair."""
    model = StubModel(clock, [MS])
    bench = bench_of(clock, model)
    bench.lanes = [StubModel(clock, [10 * MS, MS, MS])]
    assert take_pairs(bench) == ([MS] * 8, [MS] * 8)


def test_a_box_that_is_busy_now_and_then_is_no_cache() -> None:
    assert not from_cache([5 * MS] * 5 + [MS] * 3, [MS] * 8)
    assert from_cache([5 * MS] * 5 + [MS] * 3, [MS // 4] * 8)


def test_new_frames_are_asked_for_before_their_repetition(clock: FakeClock) -> None:
    model = StubModel(clock)
    seen: list[tuple[int, bytes]] = []

    class Noting:
        def predict(self, frame: Frame) -> object:
            assert isinstance(frame.data, np.ndarray)
            seen.append((frame.id.index, frame.data.tobytes()))
            return model.predict(frame)

        def close(self) -> None: ...

    bench = bench_of(clock, model)
    bench.lanes = [Noting()]  # type: ignore[list-item]  # it hands on what the stub says
    take_pairs(bench)
    fresh, again = seen[1::3], seen[2::3]
    assert fresh == again
    assert len(set(fresh)) == 8
    assert len({pixels for _, pixels in fresh}) > 1
    assert not {index for index, _ in fresh} & set(range(1000))


def test_models_that_carry_state_are_not_asked(clock: FakeClock) -> None:
    model = StubModel(clock, spec=ModelSpec("tensor", "tensor", state={"out": "in"}))
    assert take_pairs(bench_of(clock, model)) == ([], [])
    assert model.calls == 1


def test_without_any_frame_there_is_nothing_to_ask(clock: FakeClock) -> None:
    model = StubModel(clock)
    feed = Feed(StubSource(clock, 0, live=True), clock)
    assert take_pairs(Bench(model, feed, [model], clock, clock.wait_until)) == ([], [])


@pytest.mark.parametrize(
    ("fresh", "again", "cached"),
    [
        ([1000 * MS], [499 * MS], True),
        ([1000 * MS], [501 * MS], False),
        # Of a model this small the clock and a cold cache explain it.
        ([60_000], [11_000], False),
        ([60_000], [9_000], True),
        ([], [], False),
    ],
)
def test_half_the_time_and_fifty_microseconds_less_come_from_a_cache(
    fresh: list[int], again: list[int], cached: bool
) -> None:
    assert from_cache(fresh, again) is cached


@pytest.mark.parametrize(
    "array",
    [
        np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
        np.linspace(1, 2, 12, dtype=np.float16).reshape(3, 4),
        np.linspace(1, 2, 12, dtype=np.float32),
        np.arange(40, dtype=np.int64).reshape(2, 20),
    ],
)
def test_a_varied_frame_is_another_one_of_the_same_kind(clock: FakeClock, array: Array) -> None:
    frame = next(StubSource(clock, 1))
    for data in (array, {"x": array}):
        given = dataclasses.replace(frame, data=data)
        other = varied(given, 77, np.random.default_rng(0))
        values = other.data["x"] if isinstance(other.data, dict) else other.data
        assert isinstance(values, np.ndarray)
        assert (values.dtype, values.shape) == (array.dtype, array.shape)
        assert not np.array_equal(values, array)
        assert np.allclose(np.sort(values.ravel()), np.sort(array.ravel()), rtol=0.1, atol=4)
        assert other.id.index == 77


def test_numbers_that_stand_for_something_stay_among_themselves(clock: FakeClock) -> None:
    tokens = np.array([[3, 5, 5, 9, 1, 0, 2, 2]], np.int64)
    frame = dataclasses.replace(next(StubSource(clock, 1)), data={"ids": tokens})
    other = varied(frame, 1, np.random.default_rng(0)).data
    assert isinstance(other, dict)
    assert sorted(other["ids"].ravel()) == sorted(tokens.ravel())
