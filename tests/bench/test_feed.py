from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeinfer.errors import SourceError
from edgeinfer.frames import Frame
from edgeinfer.sources import RandomArrays
from edgeinfer.spec import TensorSpec
from edgeinfer.testing import FakeClock, StubSource
from edgeinfer_bench.feed import Feed, keep


def test_a_recording_starts_again_at_its_end_and_that_is_counted(clock: FakeClock) -> None:
    feed = Feed(StubSource(clock, 3), clock)
    frames = [feed.next() for _ in range(8)]
    assert [frame.id.index for frame in frames if frame] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert (feed.loops, feed.kept, feed.whole) == (2, 3, True)


def test_a_recording_is_read_before_anything_is_measured(clock: FakeClock) -> None:
    source = StubSource(clock, 4)
    feed = Feed(source, clock)
    assert source.closed
    before = clock()
    first = feed.next()
    assert clock() == before
    assert first is not None
    assert (first.id.ready_ns, first.stages_ns) == (before, {"capture": 2_000_000})


def test_of_a_long_recording_so_much_is_held_as_fits(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeinfer_bench.feed._KEPT_BYTES", 5 * 8 * 6 * 3)
    feed = Feed(StubSource(clock, 9), clock)
    assert (feed.kept, feed.whole) == (5, False)
    assert Feed(StubSource(clock, 5), clock).whole


def test_only_so_many_frames_are_held_as_are_asked_for(clock: FakeClock) -> None:
    feed = Feed(StubSource(clock, 9), clock, most=4)
    assert (feed.kept, feed.whole) == (4, False)
    feed = Feed(StubSource(clock, 4), clock, most=4)
    assert (feed.kept, feed.whole) == (4, True)


def test_of_frames_that_are_made_up_32_are_held(clock: FakeClock) -> None:
    source = StubSource(clock, 1000)
    source.info = dataclasses.replace(source.info, kind="synthetic", frame_count=None)
    assert Feed(source, clock).kept == 32


def test_a_frame_is_ready_when_it_came_where_that_is_known(clock: FakeClock) -> None:
    feed = Feed(StubSource(clock, 2), clock)
    frame = feed.next(ready_ns=123)
    assert frame is not None and frame.id.ready_ns == 123


def test_what_was_read_is_told(clock: FakeClock) -> None:
    feed = Feed(StubSource(clock, 3), clock)
    for _ in range(5):
        feed.next()
    assert feed.to_dict() == {
        "name": "stub",
        "kind": "video",
        "live": False,
        "frame_count": 3,
        "size_wh": [8, 6],
        "loops": 1,
        "kept": 3,
    }


def test_a_closed_feed_has_let_go_of_its_source_and_frames(clock: FakeClock) -> None:
    source = StubSource(clock, 3, live=True)
    feed = Feed(source, clock)
    feed.close()
    feed.close()
    assert source.closed
    assert feed.next() is None


def test_a_live_source_is_read_as_it_comes_and_its_end_is_the_end(clock: FakeClock) -> None:
    feed = Feed(StubSource(clock, 1, live=True), clock)
    assert feed.next() is not None
    assert feed.next() is None
    assert (feed.loops, feed.kept) == (0, None)


def test_what_a_source_found_odd_is_noted(clock: FakeClock) -> None:
    source = StubSource(clock, 1)
    source.notes = ("fewer frames than its header says",)
    assert Feed(source, clock).notes == ("fewer frames than its header says",)


def test_a_source_without_any_frame_is_an_error(clock: FakeClock) -> None:
    source = StubSource(clock, 0)
    source.info = dataclasses.replace(source.info, frame_count=None)
    with pytest.raises(SourceError, match="stub"):
        Feed(source, clock)


def test_a_kept_frame_stays_when_its_source_writes_over_it(clock: FakeClock) -> None:
    frame = next(iter(StubSource(clock, 1)))
    copy = keep(frame)
    assert isinstance(frame.data, np.ndarray) and isinstance(copy.data, np.ndarray)
    frame.data[:] = 0
    assert copy.data.min() == 1
    arrays = {"x": np.ones(3, np.float32)}
    copied = keep(Frame(frame.id, arrays))
    arrays["x"][:] = 0
    assert isinstance(copied.data, dict) and copied.data["x"].sum() == 3


def test_random_arrays_fit_every_input_and_are_never_all_zeros() -> None:
    specs = (
        TensorSpec("a", "float16", ("batch", 64)),
        TensorSpec("b", "int64", (1, 64)),
        TensorSpec("c", "bool", (64,)),
    )
    source, again = RandomArrays(specs), RandomArrays(specs)
    frames = [next(source) for _ in range(20)]
    for frame in frames:
        assert isinstance(frame.data, dict)
        for spec in specs:
            array = frame.data[spec.name]
            assert str(array.dtype) == spec.dtype
            assert array.any()
        assert frame.data["a"].shape == (1, 64)
    repeated = [next(again) for _ in range(4)][3]
    assert isinstance(repeated.data, dict) and isinstance(frames[3].data, dict)
    assert np.array_equal(repeated.data["a"], frames[3].data["a"])
    source.close()
    assert next(source, None) is None
