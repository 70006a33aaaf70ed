from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ProviderError, UsageError
from edgeinfer.testing import FakeClock, StubModel, StubSource
from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import SCENARIO_NAMES, BenchOptions
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.rig import Closing, Opened, Rig
from edgeinfer_bench.scenarios import SCENARIOS, Part
from edgeinfer_bench.scenarios.base import block_of, rounds, within
from edgeinfer_bench.scenarios.server import Server, allowed, judge_trial
from edgeinfer_bench.subject import Entry

MS = 1_000_000


def ignore(share: float) -> None: ...


def bout_of(
    clock: FakeClock, latencies: Sequence[int] = (MS,), label: str = "stub", warmup: int = 5
) -> Bout:
    """An open bout over a stub."""
    entry = Entry(
        lambda: StubModel(clock, latencies),
        lambda model: StubSource(clock, 40, capture_ns=0),
    )
    bout = Bout(label, Rig(entry, warmup, None, clock, clock.wait_until))
    bout.open()
    return bout


class Told:
    """A process that only writes down its orders; every frame takes 2 ms."""

    def __init__(self, label: str, log: list[tuple[str, Order]], fps: float | None = None) -> None:
        self._label, self._log, self._fps = label, log, fps

    def open(self) -> Opened:
        warm = dict.fromkeys(("at", "latency", "age"), (2 * MS,) * 5)
        return Opened({}, {}, self._fps, 1, 0, warm, None)

    def measure(self, order: Order, /) -> Turn:
        self._log.append((self._label, order))
        count = 10 if order.frames is None else order.frames
        column = (2 * MS,) * count
        samples = dict.fromkeys(("at", "latency", "age"), column)
        return Turn(samples, elapsed_ns=2 * MS * count, offered=count)

    def finish(self) -> Closing:
        return Closing({}, {})

    def close(self) -> None: ...


def told(
    labels: str, options: BenchOptions, fps: float | None = None
) -> tuple[list[tuple[str, Order]], list[Bout]]:
    """The orders that processes got in one replicate of a run, and what they came to."""
    log: list[tuple[str, Order]] = []
    bouts = [Bout(label, Told(label, log, fps)) for label in labels]
    for bout in bouts:
        bout.open()
    SCENARIOS[options.scenario](options).measure(bouts, Part.of(options, 0), ignore)
    return log, bouts


# Shares


def test_frames_and_seconds_are_shared_out_and_none_is_lost() -> None:
    options = BenchOptions(frames=1003, duration_s=10, replicates=5)
    parts = [Part.of(options, index) for index in range(5)]
    assert [part.frames for part in parts] == [201, 201, 201, 200, 200]
    assert {part.duration_ns for part in parts} == {2_000_000_000}


def test_what_is_not_limited_has_no_share() -> None:
    assert Part.of(BenchOptions(frames=10), 0).duration_ns is None
    assert Part.of(BenchOptions(duration_s=1), 0).frames is None


def test_progress_of_a_part_lies_within_its_part() -> None:
    shares: list[float] = []
    for share in (0.0, 0.5, 1.0):
        within(shares.append, 1, 4)(share)
    assert shares == [0.25, 0.375, 0.5]


def test_rounds_rotate_who_is_first_and_end_with_the_share(clock: FakeClock) -> None:
    bouts = [bout_of(clock, label=label) for label in "abc"]
    orders: list[str] = []
    shares: list[float] = []
    for order in rounds(bouts, Part(0, 8, None), shares.append):
        orders.append("".join(bout.label for bout in order))
        for bout in order:
            bout.measure(Order(frames=2))
    assert orders == ["abc", "bca", "cab", "abc"]
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_rounds_end_for_all_when_one_breaks_down(clock: FakeClock) -> None:
    bouts = [bout_of(clock), bout_of(clock)]
    count = 0
    for order in rounds(bouts, Part(0, 100, None), ignore):
        count += 1
        for bout in order:
            bout.measure(Order(frames=1))
        bouts[1].error = "gone"
    assert count == 1


@pytest.mark.parametrize(
    ("latencies", "block", "frames"),
    [
        ((10 * MS, 1 * MS), None, 25),
        ((10 * MS, 20 * MS), None, 3),
        ((2000, MS), None, 500),
        ((MS, MS), 7, 7),
    ],
)
def test_a_block_lasts_about_25_ms_of_the_fastest_model(
    clock: FakeClock, latencies: tuple[int, int], block: int | None, frames: int
) -> None:
    bouts = [bout_of(clock, [latency]) for latency in latencies]
    assert block_of(bouts, BenchOptions(block=block)) == frames


def test_without_a_warm_up_a_frame_is_taken_to_last_10_ms(clock: FakeClock) -> None:
    assert block_of([bout_of(clock, warmup=0)], BenchOptions()) == 3


# single, paced, offline


def test_one_model_alone_is_asked_in_slices_until_its_share_is_done(clock: FakeClock) -> None:
    bout = bout_of(clock, [100 * MS])
    shares: list[float] = []
    options = BenchOptions(frames=23, replicates=1)
    SCENARIOS["single"](options).measure([bout], Part.of(options, 0), shares.append)
    assert [turn.frames for turn in bout.turns] == [5, 5, 5, 5, 3]
    assert shares == pytest.approx([0, 5 / 23, 10 / 23, 15 / 23, 20 / 23, 1])


def test_a_duration_ends_one_model_alone(clock: FakeClock) -> None:
    bout = bout_of(clock, [3 * MS])
    options = BenchOptions(duration_s=1, replicates=1)
    SCENARIOS["single"](options).measure([bout], Part.of(options, 0), ignore)
    assert bout.frames == 334
    assert bout.elapsed_ns == 334 * 3 * MS


def test_several_models_take_turns_of_equal_size() -> None:
    log, bouts = told("ab", BenchOptions(frames=10, block=4, replicates=1))
    assert "".join(label for label, _ in log) == "abbaab"
    assert [order.frames for _, order in log] == [4, 4, 4, 4, 2, 2]
    # A frame that nobody counts after the other's turn, and time for its threads to sleep.
    assert {(order.discard, order.settle_ns > 0) for _, order in log} == {(1, True)}
    assert [bout.frames for bout in bouts] == [10, 10]


@pytest.mark.parametrize(
    ("asked", "recording", "interval_ns"),
    [(None, None, 33_333_333), (None, 25.0, 40 * MS), (50.0, 25.0, 20 * MS)],
)
def test_frames_are_paced_as_asked_or_as_recorded_or_at_thirty(
    asked: float | None, recording: float | None, interval_ns: int
) -> None:
    options = BenchOptions("paced", frames=60, fps=asked, replicates=1)
    log, bouts = told("a", options, recording)
    assert [order.kind for _, order in log] == ["back-to-back", "open-loop"]
    assert log[1][1].interval_ns == interval_ns
    assert (log[1][1].policy, log[1][1].frames) == ("latest", 60)
    assert bouts[0].reference.frames == 50


def test_a_recording_is_not_paced_by_more_streams_than_can_be_counted() -> None:
    with pytest.raises(UsageError, match="10,000 arrivals a second"):
        told("a", BenchOptions("paced", frames=60, streams=64, replicates=1), 240.0)


def test_several_paced_models_take_turns_of_a_second() -> None:
    log, _ = told("ab", BenchOptions("paced", frames=50, fps=10, streams=2, replicates=1))
    assert [order.frames for _, order in log[2:]] == [20, 20, 20, 20, 10, 10]
    assert all(order.streams == 2 for _, order in log[2:])


def test_what_arrivals_were_is_told() -> None:
    scenario = SCENARIOS["paced"](BenchOptions("paced", fps=40, policy="latest"))
    assert scenario.arrival("a", 2) == {
        "fps": 40,
        "streams": 1,
        "policy": "latest",
        "drops_asked": True,
        "deadline_ns": 25 * MS,
        "lanes": 2,
    }
    unasked = SCENARIOS["paced"](BenchOptions("paced", fps=40, deadline_ms=100)).arrival("a", 1)
    assert (unasked["drops_asked"], unasked["deadline_ns"]) == (False, 100 * MS)


def test_offline_one_model_runs_at_one_go_and_several_in_turns_of_a_second() -> None:
    log, _ = told("a", BenchOptions("offline", frames=700, replicates=1))
    assert [(order.kind, order.frames) for _, order in log] == [("offline", 700)]
    log, bouts = told("ab", BenchOptions("offline", frames=700, replicates=1))
    # 2 ms a frame: 500 of them in a second.
    assert [(label, order.frames) for label, order in log] == [
        ("a", 500),
        ("b", 500),
        ("b", 200),
        ("a", 200),
    ]
    assert [bout.frames for bout in bouts] == [700, 700]


def test_there_is_a_scenario_for_every_name() -> None:
    assert tuple(SCENARIOS) == SCENARIO_NAMES


# Bouts


class Gone(Told):
    """A process that ended."""

    def measure(self, order: Order, /) -> Turn:
        raise ProviderError("the process ended with signal 9.")


def test_a_process_that_is_gone_ends_its_bout_and_keeps_what_it_had() -> None:
    log: list[tuple[str, Order]] = []
    bout = Bout("a", Told("a", log))
    bout.open()
    bout.measure(Order(frames=30))
    bout.process = Gone("a", log)
    bout.measure(Order(frames=30))
    bout.finish()
    found = bout.replicate()
    assert bout.over and bout.closing is None
    assert (found.frames, found.offered, found.turns) == (30, 30, (30,))
    assert "signal 9" in found.evidence["error"]


def test_turns_are_joined_with_times_since_the_first(clock: FakeClock) -> None:
    bout = bout_of(clock, [2 * MS], warmup=1)
    began = clock()
    bout.measure(Order(frames=2))
    clock.advance(50 * MS)
    bout.measure(Order(frames=1))
    found = bout.replicate()
    assert found.began_ns == began
    assert found.samples_ns["at"] == (0, 2 * MS, 54 * MS)
    assert (found.turns, found.turns_ns, found.elapsed_ns) == ((2, 1), (4 * MS, 2 * MS), 6 * MS)
    assert bout.periods == [(began, began + 4 * MS), (began + 54 * MS, began + 56 * MS)]


# server


def crommelin(rate: float, service_s: float, wait_s: float) -> float:
    """P(W <= t) of an M/D/1 queue (Crommelin 1934; Kleinrock, "Queueing Systems" 1, 1975)."""
    total = 0.0
    for k in range(math.floor(wait_s / service_s + 1e-12) + 1):
        rest = rate * (wait_s - k * service_s)
        total += (-rest) ** k / math.factorial(k) * math.exp(rest)
    return (1 - rate * service_s) * total


def rate_for(service_s: float, target_s: float, quantile: float = 0.99) -> float:
    """The rate at which this share of the frames is answered in time."""
    low, high = 0.0, 1 / service_s
    for _ in range(60):
        middle = (low + high) / 2
        held = crommelin(middle, service_s, target_s - service_s) >= quantile
        low, high = (middle, high) if held else (low, middle)
    return low


def test_the_theory_that_the_search_is_held_against_fits_a_direct_simulation() -> None:
    """Lindley 1952: each frame waits for what the one before it has left."""
    random, rate, count = np.random.default_rng(2), 600.0, 400_000
    gaps = random.exponential(1 / rate, count)
    wait, late = 0.0, 0
    for gap in gaps:
        wait = max(0.0, wait + 0.001 - gap)
        late += wait + 0.001 > 0.005
    assert 1 - late / count == pytest.approx(crommelin(rate, 0.001, 0.004), abs=0.002)


@pytest.mark.parametrize(("service_ms", "target_ms"), [(1.0, 3.0), (1.0, 5.0), (4.0, 30.0)])
def test_the_search_finds_the_rate_of_a_queue_with_known_service_time(
    clock: FakeClock, service_ms: float, target_ms: float
) -> None:
    """With the confidence that it asks for it stays a little below; never much above."""
    bout = bout_of(clock, [round(service_ms * MS)])
    options = BenchOptions("server", frames=5000, replicates=1, target_ms=target_ms)
    server = Server(options)
    server.measure([bout], Part.of(options, 0), ignore)
    arrival = server.arrival("stub", 1)
    truth = rate_for(service_ms / 1e3, target_ms / 1e3)
    assert 0.85 * truth <= arrival["rate"] <= 1.02 * truth
    assert arrival["rate"] < arrival["rate_failed"] <= 1.12 * truth
    assert arrival["target_ns"] == target_ms * MS
    # What was measured at that rate is as old as the theory says.
    ages = np.array(bout.turns[0].samples_ns["age"])
    within_half = (ages <= target_ms * MS / 2).mean()
    theory = crommelin(arrival["rate"], service_ms / 1e3, (target_ms / 2 - service_ms) / 1e3)
    assert within_half == pytest.approx(theory, abs=0.03)
    assert (ages <= target_ms * MS).mean() >= 0.985


def test_without_a_target_it_is_three_times_the_median(clock: FakeClock) -> None:
    options = BenchOptions("server", frames=1000, replicates=1)
    server = Server(options)
    server.measure([bout_of(clock, [2 * MS])], Part.of(options, 0), ignore)
    assert server.arrival("stub", 1)["target_ns"] == 6 * MS


def test_a_target_that_no_rate_holds_ends_the_search_without_one(clock: FakeClock) -> None:
    options = BenchOptions("server", frames=1000, replicates=1, target_ms=1)
    server, bout = Server(options), bout_of(clock, [2 * MS])
    server.measure([bout], Part.of(options, 0), ignore)
    arrival = server.arrival("stub", 1)
    assert arrival["rate"] == 0
    assert bout.turns == []
    assert arrival["trials"] and not any(trial["held"] for trial in arrival["trials"])
    # A trial that cannot hold any more is not carried on with: late frames end it.
    assert all(trial["frames"] == allowed(1000) + 1 for trial in arrival["trials"])


def test_later_processes_measure_what_the_first_one_found(clock: FakeClock) -> None:
    options = BenchOptions("server", frames=2000, replicates=2, target_ms=4)
    server, bouts = Server(options), [bout_of(clock), bout_of(clock)]
    for index, bout in enumerate(bouts):
        server.measure([bout], Part.of(options, index), ignore)
    assert [bout.frames for bout in bouts] == [1000, 1000]
    assert bouts[1].reference.frames == 0
    # Arrivals are drawn anew.
    assert bouts[0].turns[0].samples_ns["age"] != bouts[1].turns[0].samples_ns["age"]


def binomial(frames: int, late: int) -> float:
    """P(at most so many late) where each is with 1%, added up without logarithms."""
    return sum(math.comb(frames, k) * 0.01**k * 0.99 ** (frames - k) for k in range(late + 1))


@pytest.mark.parametrize("frames", [100, 298, 299, 1000, 5000])
def test_so_many_may_be_late_that_the_share_is_below_one_in_a_hundred_with_confidence(
    frames: int,
) -> None:
    late = allowed(frames)
    assert late == -1 or binomial(frames, late) <= 0.05
    assert binomial(frames, late + 1) > 0.05
    assert (late >= 0) == (frames >= 299)


@pytest.mark.parametrize(
    ("late", "error", "held"), [(4, None, True), (5, None, False), (0, "gone", False)]
)
def test_a_trial_is_held_by_its_late_frames(late: int, error: str | None, held: bool) -> None:
    ages = (11,) * late + (10,) * (1000 - late)
    assert allowed(1000) == 4
    turn = Turn({"at": ages, "latency": ages, "age": ages}, error=error)
    assert judge_trial(turn, 10) is held


def test_a_model_that_fails_ends_the_search(clock: FakeClock) -> None:
    entry = Entry(lambda: StubModel(clock, fails_at=300), lambda model: StubSource(clock, 40))
    bout = Bout("stub", Rig(entry, 5, None, clock, clock.wait_until))
    bout.open()
    options = BenchOptions("server", frames=1000, replicates=1, target_ms=10)
    server = Server(options)
    server.measure([bout], Part.of(options, 0), ignore)
    trials: list[dict[str, Any]] = server.arrival("stub", 1)["trials"]
    assert bout.error is not None and len(trials) == 1 and not trials[0]["held"]
