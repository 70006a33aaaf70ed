from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import edgeinfer
from edgeinfer.errors import UsageError
from edgeinfer.frames import Frame
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.results import Payload, Result
from edgeinfer.spec import ModelSpec
from edgeinfer.testing import FakeClock, StubModel, StubSource
from edgeinfer.timing import now_ns
from edgeinfer_bench.feed import Feed
from edgeinfer_bench.goals.bench.harness_cost import added_ns
from edgeinfer_bench.loops import Bench
from edgeinfer_bench.loops.back_to_back import back_to_back
from edgeinfer_bench.loops.offline import offline
from edgeinfer_bench.loops.open_loop import arrivals, open_loop
from edgeinfer_bench.order import Order, Turn

MS = 1_000_000
HEAD_START_NS = 2 * MS
DIGITS = Path(edgeinfer.__file__).parent / "cli" / "demo_data" / "digits.onnx"


def bench_of(clock: FakeClock, *models: StubModel, frames: int = 50, live: bool = False) -> Bench:
    source = StubSource(clock, frames, capture_ns=0, live=live)
    return Bench(models[0], Feed(source, clock), list(models), clock, clock.wait_until)


def paced(clock: FakeClock, latencies: Sequence[int], **order: object) -> Turn:
    """An open loop with a frame every 10 ms."""
    values = {"frames": 10, "interval_ns": 10 * MS, **order}
    return open_loop(
        bench_of(clock, StubModel(clock, latencies)),
        Order("open-loop", **values),  # type: ignore[arg-type]  # as each test has it
    )


# Back to back


def test_frames_back_to_back_follow_each_other_and_their_age_is_their_latency(
    clock: FakeClock,
) -> None:
    began = clock()
    turn = back_to_back(bench_of(clock, StubModel(clock, [3 * MS, MS])), Order(frames=4))
    assert turn.samples_ns["latency"] == turn.samples_ns["age"] == (3 * MS, MS, 3 * MS, MS)
    starts = (0, 3 * MS, 4 * MS, 7 * MS)
    assert turn.samples_ns["at"] == tuple(began + start for start in starts)
    assert (turn.began_ns, turn.elapsed_ns, turn.offered) == (began, 8 * MS, 4)
    assert (turn.ended, turn.error, turn.drops_at_ns) == (False, None, ())


def test_back_to_back_ends_when_its_time_is_up(clock: FakeClock) -> None:
    turn = back_to_back(bench_of(clock, StubModel(clock, [3 * MS])), Order(duration_ns=10 * MS))
    assert turn.frames == 4


def test_frames_to_discard_are_answered_and_not_kept(clock: FakeClock) -> None:
    model = StubModel(clock, [9 * MS, MS, MS, MS])
    began = clock()
    turn = back_to_back(bench_of(clock, model), Order(frames=3, discard=1))
    assert turn.samples_ns["latency"] == (MS,) * 3
    assert (turn.began_ns, turn.elapsed_ns) == (began + 9 * MS, 3 * MS)


def test_a_live_source_that_ends_ends_the_turn(clock: FakeClock) -> None:
    turn = back_to_back(bench_of(clock, StubModel(clock), frames=3, live=True), Order(frames=9))
    assert (turn.frames, turn.ended) == (3, True)


def test_a_model_that_fails_ends_the_turn_and_what_was_measured_stays(clock: FakeClock) -> None:
    turn = back_to_back(bench_of(clock, StubModel(clock, fails_at=3)), Order(frames=9))
    assert (turn.frames, turn.offered, turn.ended) == (3, 3, False)
    assert turn.error is not None and "call 3" in turn.error


# Open loop


def test_frames_that_meet_an_idle_model_are_as_old_as_they_take(clock: FakeClock) -> None:
    start = clock() + HEAD_START_NS
    turn = paced(clock, [3 * MS])
    assert turn.samples_ns["age"] == (3 * MS,) * 10
    assert turn.samples_ns["at"] == tuple(start + index * 10 * MS for index in range(10))
    assert (turn.began_ns, turn.elapsed_ns) == (start, 93 * MS)
    assert (turn.offered, turn.drops_at_ns, turn.streams) == (10, (), ())


def test_those_behind_a_slow_frame_are_older(clock: FakeClock) -> None:
    """Coordinated omission: the slow one is one sample, and the queue behind it four more."""
    latencies = [MS, MS, 45 * MS, *[MS] * 7]
    turn = paced(clock, latencies)
    assert turn.samples_ns["latency"] == tuple(latencies)
    ages = [1, 1, 45, 36, 27, 18, 9, 1, 1, 1]
    assert turn.samples_ns["age"] == tuple(age * MS for age in ages)
    closed = back_to_back(bench_of(clock, StubModel(clock, latencies)), Order(frames=10))
    assert sorted(closed.samples_ns["age"])[-2] == MS  # type: ignore[type-var]  # no None


def test_drops_have_their_times_and_every_arrival_is_accounted_for(clock: FakeClock) -> None:
    """The frame of 20 ms takes until 55: those of 30 and 40 are replaced when 40 and 50 come."""
    start = clock() + HEAD_START_NS
    turn = paced(clock, [MS, MS, 35 * MS, MS, MS, MS, MS, MS], policy="latest")
    assert turn.drops_at_ns == (start + 40 * MS, start + 50 * MS)
    assert turn.frames + len(turn.drops_at_ns) == turn.offered == 10
    assert turn.samples_ns["age"] == tuple(age * MS for age in (1, 1, 35, 6, 1, 1, 1, 1))


@pytest.mark.parametrize("policy", ["all", "latest"])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("latency", [MS, 9 * MS, 31 * MS])
def test_answered_and_dropped_are_all_that_arrived(
    clock: FakeClock, policy: str, seed: int | None, streams: int, latency: int
) -> None:
    turn = paced(clock, [latency], frames=200, policy=policy, seed=seed, streams=streams)
    assert turn.offered == 200
    assert turn.frames + len(turn.drops_at_ns) == 200
    overload = latency * streams > 10 * MS
    if seed is None:
        assert bool(turn.drops_at_ns) == (policy == "latest" and overload)
    assert len(turn.streams) == (turn.frames if streams > 1 else 0)


def test_no_arrival_is_later_than_the_time_that_is_given(clock: FakeClock) -> None:
    turn = paced(clock, [25 * MS], frames=None, duration_ns=40 * MS)
    assert (turn.offered, turn.frames) == (4, 4)
    assert turn.elapsed_ns == 100 * MS


def test_an_open_loop_gives_up_when_too_many_are_late(clock: FakeClock) -> None:
    turn = paced(clock, [20 * MS], frames=1000, give_up_over_ns=35 * MS, give_up_after=5)
    # Ages are 20, 30, 40, ...: the sixth that is late is the eighth of all.
    assert turn.frames == 8
    assert turn.samples_ns["age"][-1] == 90 * MS


def test_a_live_source_cannot_be_paced(clock: FakeClock) -> None:
    with pytest.raises(UsageError, match=r"stub is live.*'single'"):
        open_loop(bench_of(clock, StubModel(clock), live=True), Order("open-loop", 5))


def test_a_model_that_fails_in_an_open_loop_leaves_what_was_measured(clock: FakeClock) -> None:
    bench = bench_of(clock, StubModel(clock, fails_at=4))
    turn = open_loop(bench, Order("open-loop", 10, interval_ns=10 * MS))
    assert (turn.frames, turn.error is not None) == (4, True)
    assert turn.elapsed_ns == 40 * MS


def test_several_lanes_share_the_frames_and_lose_none(clock: FakeClock) -> None:
    models = [StubModel(clock, [7 * MS]) for _ in range(3)]
    turn = open_loop(bench_of(clock, *models), Order("open-loop", 300, interval_ns=MS, streams=2))
    assert turn.frames == turn.offered == len(turn.streams) == 300
    assert sum(model.calls for model in models) == 300


def test_a_lane_that_fails_stops_the_others(clock: FakeClock) -> None:
    models = [StubModel(clock), StubModel(clock, fails_at=0)]
    bench = bench_of(clock, *models)
    turn = open_loop(bench, Order("open-loop", 100_000, interval_ns=MS, give_up_after=0))
    assert turn.error is not None and "call 0" in turn.error
    assert turn.frames == models[0].calls < 100_000


class Remembering(StubModel):
    """A model that carries state: each of its lanes writes down the streams that it sees."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, spec=ModelSpec("tensor", "tensor", state={"out": "in"}))
        self.made: list[StubModel] = []

    def lane(self) -> StubModel:
        self.made.append(StubModel(self._clock, [MS * (1 + len(self.made))]))
        return self.made[-1]


def test_streams_of_a_model_that_carries_state_have_a_lane_of_their_own(clock: FakeClock) -> None:
    """The lanes take 1, 2 and 3 ms, which tells them apart in the results."""
    model = Remembering(clock)
    bench = bench_of(clock, model)
    turn = open_loop(bench, Order("open-loop", 30, interval_ns=30 * MS, streams=3))
    assert [lane.calls for lane in model.made] == [10, 10, 10] and model.calls == 0
    taken = dict(zip(turn.streams, turn.samples_ns["latency"], strict=True))
    assert taken == {0: MS, 1: 2 * MS, 2: 3 * MS}
    again = open_loop(bench, Order("open-loop", 30, interval_ns=30 * MS, streams=3))
    assert (again.frames, len(model.made)) == (30, 3)
    bench.close()
    assert all(lane.closed for lane in model.made)


# Arrivals


def test_random_arrivals_are_those_of_a_poisson_process() -> None:
    """Gaps have the mean, the variance and the tail of an exponential distribution, and counts in
    equal spans a variance that is their mean."""
    count, mean_ns = 40_000, 5 * MS
    order = Order("open-loop", interval_ns=mean_ns, seed=5)
    at = np.array([when for when, _ in itertools.islice(arrivals(order), count)])
    gaps = np.diff(at, prepend=0) / mean_ns
    # Four standard errors: 1 / sqrt(n) of the mean, sqrt(8 / n) of the variance.
    assert gaps.mean() == pytest.approx(1, abs=4 / count**0.5)
    assert gaps.var() == pytest.approx(1, abs=4 * (8 / count) ** 0.5)
    assert (gaps > 3).mean() == pytest.approx(np.exp(-3), abs=4 * (np.exp(-3) / count) ** 0.5)
    neighbours = np.corrcoef(gaps[:-1], gaps[1:])[0, 1]
    assert neighbours == pytest.approx(0, abs=4 / count**0.5)
    counts = np.bincount(at // (10 * mean_ns))[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=4 * (2 / len(counts)) ** 0.5)


def test_the_seed_says_when_random_frames_arrive() -> None:
    def first(seed: int) -> list[tuple[int, int]]:
        order = Order("open-loop", interval_ns=MS, seed=seed, streams=2)
        return list(itertools.islice(arrivals(order), 50))

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_random_arrivals_are_of_any_stream() -> None:
    order = Order("open-loop", interval_ns=MS, seed=6, streams=4)
    found = Counter(stream for _, stream in itertools.islice(arrivals(order), 40_000))
    # Four standard deviations of a binomial count.
    assert all(abs(found[stream] - 10_000) < 4 * 87 for stream in range(4))


def test_several_streams_arrive_evenly_shifted() -> None:
    order = Order("open-loop", interval_ns=9 * MS, streams=3)
    found = list(itertools.islice(arrivals(order), 7))
    assert found == [(3 * index * MS, index % 3) for index in range(7)]


@pytest.mark.parametrize("policy", ["all", "latest"])
@pytest.mark.parametrize("latency", [2 * MS, 4 * MS, 7 * MS])
def test_streams_are_served_alike(clock: FakeClock, policy: str, latency: int) -> None:
    """Four cameras at 100 frames/s each are too much for any but the first of these models."""
    turn = paced(clock, [latency], frames=800, streams=4, policy=policy)
    served = Counter(turn.streams)
    assert set(served) == set(range(4))
    assert max(served.values()) - min(served.values()) <= 1


# Offline


class OneLane(StubModel):
    """A stub for the pipeline; it carries state, so that its frames come one after the other."""

    plan = SimpleNamespace(lanes=1)

    def __init__(self, clock: FakeClock, latencies: Sequence[int], fails_at: int | None) -> None:
        spec = ModelSpec("tensor", "tensor", state={"out": "in"})
        super().__init__(clock, latencies, spec=spec, fails_at=fails_at)

    def warm_up(self, for_long: bool = False) -> bool:
        return False

    def predict(self, frame: Frame, dropped_before: int = 0) -> Result[Payload]:
        return super().predict(frame)


def offline_turn(
    clock: FakeClock, order: Order, *, fails_at: int | None = None, live: bool = False
) -> Turn:
    model = OneLane(clock, [2 * MS, 4 * MS], fails_at)
    return offline(bench_of(clock, model, frames=30, live=live), order)


def test_offline_lasts_from_the_first_frame_taken_to_the_last_answer(clock: FakeClock) -> None:
    began = clock()
    turn = offline_turn(clock, Order("offline", 100))
    assert (turn.frames, turn.offered, turn.ended) == (100, 100, False)
    assert (turn.began_ns, turn.elapsed_ns) == (began, 300 * MS)
    assert turn.samples_ns["latency"] == (2 * MS, 4 * MS) * 50


def test_a_live_source_that_ends_ends_offline_too(clock: FakeClock) -> None:
    turn = offline_turn(clock, Order("offline", 100), live=True)
    assert (turn.frames, turn.ended) == (30, True)


def test_a_model_that_fails_offline_leaves_what_was_measured(clock: FakeClock) -> None:
    turn = offline_turn(clock, Order("offline", 100), fails_at=7)
    assert turn.error is not None and "call 7" in turn.error
    assert turn.frames <= 7


def test_offline_runs_the_pipeline_over_a_real_model(clock: FakeClock) -> None:
    with open_model(DIGITS, LoadOptions(threads=1, use_plan=False, recording=True)) as model:
        feed = Feed(StubSource(clock, 10, size_wh=(64, 48)), now_ns)
        bench = Bench(model, feed, [], now_ns, lambda until_ns: None)
        turn = offline(bench, Order("offline", 25))
        timed = offline(bench, Order("offline", None, duration_ns=20 * MS))
    assert (turn.frames, turn.error, turn.ended) == (25, None, False)
    assert turn.elapsed_ns > 0
    assert timed.frames > 0 and timed.error is None
    assert bench.watch.changed == 0 and bench.watch.compared > 0


# What all of it costs


def step_ns() -> float:
    """Processor time of one turn of a loop of Python: 700 ns on the box of the reports."""
    began, kept = time.thread_time_ns(), {}
    for number in range(1000):
        kept[number % 7] = max(number, len(kept), key=abs)
    return (time.thread_time_ns() - began) / 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [Order("back-to-back", 300), Order("open-loop", 300, interval_ns=1)],
    ids=lambda order: order.kind,
)
def test_the_harness_adds_less_than_20_microseconds_to_a_frame(order: Order) -> None:
    """In processor time, in the best of some attempts: others on the box can only add to it. On a
    slower box in proportion."""
    found = []
    for _ in range(20):
        slower = max(1.0, step_ns() / 700)
        found.append(added_ns(order, rounds=10, clock=time.thread_time_ns)[0] / slower)
        if 0 < found[-1] < 20_000:
            break
    assert 0 < found[-1] < 20_000, found


class Broken(StubModel):
    """Raises what nobody expects."""

    def predict(self, frame: Frame) -> Result[Payload]:
        if self.calls == 5:
            raise RuntimeError("planted: a library gave up")
        return super().predict(frame)


@pytest.mark.parametrize("lanes", [1, 2])
def test_what_nobody_expects_ends_every_lane_and_comes_out(clock: FakeClock, lanes: int) -> None:
    models = [Broken(clock, [MS]), *(StubModel(clock, [MS]) for _ in range(lanes - 1))]
    with pytest.raises(RuntimeError, match="planted"):
        open_loop(bench_of(clock, *models), Order("open-loop", 10_000, interval_ns=MS))
    assert sum(model.calls for model in models) < 10_000


def test_a_queue_that_only_grows_is_left_and_what_was_answered_stays(clock: FakeClock) -> None:
    turn = paced(clock, [1000 * MS], frames=20_000, interval_ns=MS)
    assert turn.error is None
    assert turn.frames == pytest.approx(40, abs=1)  # 20 s of arrivals, and as long again
    assert turn.offered == 20_000
