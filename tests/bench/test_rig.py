from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ProviderError, SourceError
from edgeinfer.spec import ModelSpec
from edgeinfer.testing import STUB_SERVED, FakeClock, StubModel, StubSource
from edgeinfer_bench.order import Order
from edgeinfer_bench.rig import Rig
from edgeinfer_bench.subject import Entry
from edgeinfer_bench.warmup import MOST_FRAMES

MS = 1_000_000
Made = Callable[[], StubModel]


def rig_of(
    clock: FakeClock,
    model: StubModel | Made,
    source: StubSource | None = None,
    warmup: int | None = 0,
    most_frames: int | None = None,
) -> Rig:
    frames = source or StubSource(clock, 40, capture_ns=0)
    make: Made = (lambda: model) if isinstance(model, StubModel) else model
    entry = Entry(make, lambda subject: frames)
    return Rig(entry, warmup, most_frames, clock, clock.wait_until)


class Lanes(StubModel):
    """A stub whose plan runs three inferences at once, and that counts its lanes."""

    lanes = 0

    def lane(self) -> StubModel:
        self.lanes += 1
        return self

    def summary(self) -> dict[str, Any]:
        about = super().summary()
        about["plan"]["lanes"] = 3
        return about


def test_opening_is_the_model_alone(clock: FakeClock) -> None:
    def slow_to_open() -> StubModel:
        clock.advance(7 * MS)
        return StubModel(clock)

    opened = rig_of(clock, slow_to_open, StubSource(clock, 20, capture_ns=9 * MS), 5).open()
    assert opened.opening_ns == 7 * MS
    assert opened.about["provider"] == "cpu"
    assert (opened.source["name"], opened.fps, opened.lanes) == ("stub", None, 1)


def test_so_many_frames_warm_up_as_are_asked_for(clock: FakeClock) -> None:
    opened = rig_of(clock, StubModel(clock, [9 * MS, 8 * MS, MS]), warmup=2).open()
    assert opened.warmup_samples_ns["latency"] == (9 * MS, 8 * MS)
    assert opened.warmup_samples_ns["at"] == (0, 9 * MS)
    assert opened.settled is None
    assert rig_of(clock, StubModel(clock), warmup=0).open().warmup_samples_ns["latency"] == ()


def test_otherwise_frames_warm_up_until_they_settle(clock: FakeClock) -> None:
    falling = [(20 - index) * MS for index in range(12)]
    opened = rig_of(clock, StubModel(clock, [*falling, *[8 * MS] * 100]), warmup=None).open()
    assert opened.settled is True
    # From 22 on the last five and the five before them are alike; the medians are so earlier.
    assert 12 < len(opened.warmup_samples_ns["latency"]) <= 22


@pytest.mark.parametrize(("each_ns", "frames"), [(MS, MOST_FRAMES), (100 * MS, 36)])
def test_what_never_settles_warms_up_so_long_and_says_so(
    clock: FakeClock, each_ns: int, frames: int
) -> None:
    """200 frames or 5 seconds. Five quick ones, five slow ones: no look finds the median before."""
    model = StubModel(clock, [*[each_ns] * 5, *[2 * each_ns] * 5])
    opened = rig_of(clock, model, warmup=None).open()
    assert opened.settled is False
    assert len(opened.warmup_samples_ns["latency"]) == frames


def test_a_source_shorter_than_the_warm_up_is_shown_again(clock: FakeClock) -> None:
    rig = rig_of(clock, StubModel(clock), StubSource(clock, 7), warmup=20)
    opened = rig.open()
    assert len(opened.warmup_samples_ns["latency"]) == 20
    turn = rig.measure(Order(frames=10))
    assert (turn.frames, turn.ended) == (10, False)
    evidence = rig.finish().evidence
    assert (evidence["source_loops"], evidence["source_whole"]) == (4, True)


@pytest.mark.parametrize("warmup", [20, None])
def test_a_live_source_that_ends_in_the_warm_up_leaves_nothing_to_measure(
    clock: FakeClock, warmup: int | None
) -> None:
    rig = rig_of(clock, StubModel(clock), StubSource(clock, 6, live=True), warmup)
    opened = rig.open()
    assert len(opened.warmup_samples_ns["latency"]) == 6
    assert opened.settled is (None if warmup else False)
    turn = rig.measure(Order(frames=10))
    assert (turn.frames, turn.offered, turn.ended) == (0, 0, True)
    assert rig.finish().evidence["outputs_compared"] == 1
    rig.close()


def test_a_live_source_without_any_frame_is_the_end_and_no_crash(clock: FakeClock) -> None:
    rig = rig_of(clock, StubModel(clock), StubSource(clock, 0, live=True), 5)
    assert rig.open().warmup_samples_ns["latency"] == ()
    assert rig.measure(Order(frames=10)).ended
    evidence = rig.finish().evidence
    assert (evidence["outputs_compared"], evidence["fresh_ns"]) == (0, [])


def test_what_cannot_be_opened_leaves_nothing_open(clock: FakeClock) -> None:
    model, source = StubModel(clock, fails_at=3), StubSource(clock, 40)
    with pytest.raises(ProviderError, match="call 3"):
        rig_of(clock, model, source, warmup=10).open()
    assert model.closed and source.closed
    empty = StubModel(clock)
    with pytest.raises(SourceError, match="no frame"):
        rig_of(clock, empty, StubSource(clock, 0)).open()
    assert empty.closed


def test_a_rig_closes_what_it_opened_and_can_be_closed_again(clock: FakeClock) -> None:
    model, source = StubModel(clock), StubSource(clock, 40, live=True)
    rig = rig_of(clock, model, source)
    rig.close()
    rig.open()
    assert not model.closed and not source.closed
    rig.close()
    rig.close()
    assert model.closed and source.closed


def test_there_are_as_many_lanes_as_the_plan_runs_inferences_at_once(clock: FakeClock) -> None:
    model = Lanes(clock)
    rig = rig_of(clock, model, warmup=4)
    assert rig.open().lanes == 3
    assert model.lanes == 3
    # Each of the others saw one frame.
    assert model.calls == 4 + 2


def test_a_model_that_carries_state_has_one_lane(clock: FakeClock) -> None:
    model = Lanes(clock, spec=ModelSpec("tensor", "tensor", state={"out": "in"}))
    assert rig_of(clock, model).open().lanes == 1
    assert model.lanes == 1


@pytest.mark.parametrize(
    ("kind", "interval_ns", "elapsed_ns"),
    [("back-to-back", 0, 20 * MS), ("open-loop", 5 * MS, 47 * MS)],
)
def test_an_order_says_how_frames_arrive(
    clock: FakeClock, kind: str, interval_ns: int, elapsed_ns: int
) -> None:
    rig = rig_of(clock, StubModel(clock, [2 * MS]))
    rig.open()
    turn = rig.measure(Order(kind, 10, interval_ns=interval_ns))
    assert (turn.frames, turn.elapsed_ns) == (10, elapsed_ns)


def test_threads_that_are_still_awake_are_waited_for_but_not_for_ever(clock: FakeClock) -> None:
    """They wait busily; processor time tells. The first two looks see a thread at work."""
    rig = rig_of(clock, StubModel(clock))
    rig.open()
    used = iter([*range(0, 6 * MS, MS), *[6 * MS] * 100])
    rig.bench.cpu_clock = lambda: next(used)
    before = clock()
    rig.measure(Order(frames=1, settle_ns=100 * MS))
    assert clock() - before == MS + 3 * MS
    busy = iter(range(0, 10**12, 4 * MS))
    rig.bench.cpu_clock = lambda: next(busy)
    before = clock()
    rig.measure(Order(frames=1, settle_ns=100 * MS))
    assert clock() - before == MS + 100 * MS


def evidence_of(rig: Rig, frames: int = 100) -> dict[str, Any]:
    rig.open()
    rig.measure(Order(frames=frames))
    return dict(rig.finish().evidence)


def test_nothing_speaks_against_a_model_that_does_as_it_should(clock: FakeClock) -> None:
    found = evidence_of(rig_of(clock, StubModel(clock)))
    # Frames 41 to 100 were seen before, and the first one is asked for once more.
    assert (found["outputs_compared"], found["outputs_changed"]) == (61, 0)
    assert (found["fallback"], found["flagged_frames"]) == (False, {})
    assert found["fresh_ns"] == found["again_ns"] == [MS] * 8


def outputs(*values: float) -> Sequence[np.ndarray[Any, np.dtype[np.float32]]]:
    return [np.full((1, 4), value, np.float32) for value in values]


def test_an_output_that_changes_is_counted(clock: FakeClock) -> None:
    model = StubModel(clock, outputs=outputs(*[1] * 59, 2))
    found = evidence_of(rig_of(clock, model, StubSource(clock, 10)), frames=60)
    assert (found["outputs_compared"], found["outputs_changed"]) == (51, 1)


def test_an_output_that_changes_after_all_is_found_by_the_repetition(clock: FakeClock) -> None:
    """Each of 40 frames is seen once; the pairs take 24 calls more before the first one again."""
    model = StubModel(clock, outputs=outputs(*[1] * 64, 2))
    found = evidence_of(rig_of(clock, model), frames=40)
    assert (found["outputs_compared"], found["outputs_changed"]) == (1, 1)


def test_outputs_of_a_model_with_state_are_not_compared(clock: FakeClock) -> None:
    spec = ModelSpec("tensor", "tensor", state={"out": "in"})
    model = StubModel(clock, outputs=outputs(1, 2, 3), spec=spec)
    found = evidence_of(rig_of(clock, model))
    assert (found["outputs_compared"], found["fresh_ns"]) == (0, [])


def test_a_fallback_is_evidence(clock: FakeClock) -> None:
    served = dataclasses.replace(STUB_SERVED, fallback=True)
    assert evidence_of(rig_of(clock, StubModel(clock, served=served)))["fallback"] is True


def test_flags_of_frames_are_counted(clock: FakeClock) -> None:
    found = evidence_of(rig_of(clock, StubModel(clock, flags=("nonfinite",))), frames=30)
    assert found["flagged_frames"] == {"nonfinite": 30}


def test_of_a_source_only_so_many_frames_are_used_as_are_asked_for(clock: FakeClock) -> None:
    rig = rig_of(clock, StubModel(clock), most_frames=4)
    assert rig.open().source["kept"] == 4
    rig.measure(Order(frames=8))
    evidence = rig.finish().evidence
    assert (evidence["source_loops"], evidence["source_whole"]) == (1, False)
