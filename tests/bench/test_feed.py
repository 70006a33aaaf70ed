from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import SourceError
from edgeinfer.frames import Frame
from edgeinfer.sources import RandomArrays
from edgeinfer.spec import TensorSpec
from edgeinfer.testing import FakeClock, StubSource
from edgeinfer_bench.feed import Feed, keep


def test_a_recording_starts_again_at_its_end_and_that_is_counted(clock: FakeClock) -> None:
    feed = Feed(lambda: StubSource(clock, 3))
    frames = [feed.next() for _ in range(8)]
    assert [frame.id.index for frame in frames if frame] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert feed.to_dict()["loops"] == 2


def test_each_source_that_was_opened_is_closed(clock: FakeClock) -> None:
    opened: list[StubSource] = []

    def open_again() -> StubSource:
        opened.append(StubSource(clock, 2))
        return opened[-1]

    feed = Feed(open_again)
    for _ in range(5):
        feed.next()
    feed.close()
    assert len(opened) == 3
    assert all(source.closed for source in opened)


def test_a_live_source_that_ends_is_not_opened_again(clock: FakeClock) -> None:
    feed = Feed(lambda: StubSource(clock, 1, live=True))
    assert feed.next() is not None
    assert feed.next() is None
    assert feed.loops == 0


def test_what_a_source_found_odd_is_noted_once(clock: FakeClock) -> None:
    def odd() -> StubSource:
        source = StubSource(clock, 1)
        source.notes = ("fewer frames than its header says",)
        return source

    feed = Feed(odd)
    for _ in range(3):
        feed.next()
    feed.close()
    assert list(feed.notes) == ["fewer frames than its header says"]


def test_a_source_without_any_frame_is_an_error(clock: FakeClock) -> None:
    with pytest.raises(SourceError, match="stub"):
        Feed(lambda: StubSource(clock, 0)).next()


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
    frames = list(RandomArrays(specs))
    for frame in frames:
        assert isinstance(frame.data, dict)
        for spec in specs:
            array = frame.data[spec.name]
            assert str(array.dtype) == spec.dtype
            assert array.any()
        assert frame.data["a"].shape == (1, 64)
    again = list(RandomArrays(specs))
    assert isinstance(again[3].data, dict) and isinstance(frames[3].data, dict)
    assert np.array_equal(again[3].data["a"], frames[3].data["a"])
