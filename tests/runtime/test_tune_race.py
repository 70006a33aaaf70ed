"""The race: candidates of known latency under a fake clock; nothing here takes real time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from edgeinfer.errors import ProviderError
from edgeinfer.testing import FakeClock
from edgeinfer.tune.race import Block, Standing, choose, race, relative, statable
from edgeinfer.tune.verdict import busy, settle

Drift = Callable[[int], float]


def steady(time_ns: int) -> float:
    return 1.0


def throttling(time_ns: int) -> float:
    """The box gets slower and slower, up to 2.5 times, and waves on top."""
    seconds = time_ns / 1e9
    return 1.0 + min(1.5, seconds / 20) + 0.2 * math.sin(seconds)


class Faked:
    """A contestant whose frames take what it is told, times what the box makes of it."""

    def __init__(
        self,
        name: str,
        clock: FakeClock,
        frame_ns: int,
        *,
        drift: Drift = steady,
        noise: float = 0.03,
        tail: float = 1.0,
        frames: int = 10,
        dies_at: int | None = None,
    ) -> None:
        self.name = name
        self.blocks = 0
        self._clock = clock
        self._frame_ns = frame_ns
        self._drift = drift
        self._noise = noise
        self._tail = tail
        self._frames = frames
        self._dies_at = dies_at
        self._random = random.Random(name)

    def block(self) -> Block:
        if self.blocks == self._dies_at:
            raise ProviderError("it killed its process (SIGKILL)")
        self.blocks += 1
        samples = []
        for index in range(self._frames):
            share = self._drift(self._clock()) * (1 + self._noise * self._random.random())
            # One frame in ten is in the tail.
            share *= self._tail if index % 10 == 9 else 1.0
            samples.append(round(self._frame_ns * share))
            self._clock.advance(samples[-1])
        return Block(sorted(samples)[len(samples) // 2], tuple(samples), samples[0])


def winner(contestants: list[Faked], rounds: int = 40) -> tuple[str, dict[str, Standing]]:
    standings = dict(race(contestants, rounds=rounds))
    left = {name: item for name, item in standings.items() if item.out is None}
    return choose(left, dict.fromkeys(left, 0.0), statable(list(left.values()))), standings


@pytest.mark.parametrize("drift", [steady, throttling])
def test_the_fastest_wins_whatever_the_box_does(drift: Drift) -> None:
    clock = FakeClock()
    times = {"a": 12_000_000, "b": 10_000_000, "c": 10_500_000, "d": 25_000_000, "e": 31_000_000}
    found, _ = winner([Faked(name, clock, ns, drift=drift) for name, ns in times.items()])
    assert found == "b"


def test_one_after_the_other_drift_would_have_fooled_it() -> None:
    """The planted fault: measured in a row instead of in turns, the slower one looks faster."""
    clock = FakeClock()
    slower = Faked("slower", clock, 11_000_000, drift=throttling)
    faster = Faked("faster", clock, 10_000_000, drift=throttling)
    first = [slower.block().cost_ns for _ in range(40)]
    second = [faster.block().cost_ns for _ in range(40)]
    assert sorted(first)[20] < sorted(second)[20]
    found, _ = winner(
        [Faked(name, clock, ns, drift=throttling) for name, ns in (("s", 11), ("f", 10))]
    )
    assert found == "f"


def test_losers_are_let_go_early_and_the_time_goes_to_those_who_lead() -> None:
    clock = FakeClock()
    contestants = [
        Faked("best", clock, 10_000_000),
        Faked("near", clock, 10_100_000),
        Faked("slow", clock, 30_000_000),
        Faked("middling", clock, 13_500_000),
    ]
    standings = race(contestants, rounds=20)
    counts = {one.name: one.blocks for one in contestants}
    assert counts == {"best": 20, "near": 20, "slow": 2, "middling": 3}
    assert "times the cost" in str(standings["slow"].out)


def test_one_that_dies_is_out_and_the_others_go_on() -> None:
    clock = FakeClock()
    dying = Faked("dying", clock, 5_000_000, dies_at=1)
    found, standings = winner([Faked("a", clock, 10_000_000), Faked("b", clock, 12_000_000), dying])
    assert found == "a"
    assert standings["dying"].failed and "SIGKILL" in str(standings["dying"].out)


def test_time_that_is_up_ends_it_after_two_rounds() -> None:
    clock = FakeClock()
    contestants = [Faked(name, clock, 10_000_000) for name in "ab"]
    race(contestants, rounds=100, until=lambda: True)
    assert [one.blocks for one in contestants] == [2, 2]


def test_the_order_rotates() -> None:
    clock = FakeClock()
    seen: list[str] = []

    class Noted(Faked):
        def block(self) -> Block:
            seen.append(self.name)
            return super().block()

    race([Noted(name, clock, 1_000_000) for name in "abc"], rounds=3)
    assert "".join(seen) == "abcbcacab"


def test_a_tie_goes_to_the_simpler() -> None:
    clock = FakeClock()
    standings = race(
        [Faked("fancy", clock, 10_000_000), Faked("plain", clock, 10_050_000)], rounds=20
    )
    assert choose(standings, {"fancy": 4.0, "plain": 0.0}, 0.5) == "plain"
    # But simplicity is worth no more than the noise.
    standings = race(
        [Faked("fancy", clock, 10_000_000), Faked("plain", clock, 10_800_000)], rounds=5
    )
    assert choose(standings, {"fancy": 4.0, "plain": 0.0}, 0.5) == "fancy"


def test_the_tail_decides_where_it_may_be_stated() -> None:
    clock = FakeClock()
    contestants = [
        Faked("spiky", clock, 10_000_000, tail=4.0),
        Faked("even", clock, 10_400_000),
    ]
    standings = race(contestants, rounds=30, spare=1.1)
    stated = statable(list(standings.values()))
    assert stated == 0.95  # 300 samples: 15 lie beyond p95, 3 beyond p99
    simplicity = dict.fromkeys(standings, 0.0)
    assert choose(standings, simplicity, stated) == "even"
    assert choose(standings, simplicity, 0.5) == "spiky"


@pytest.mark.parametrize(("samples", "q"), [(10, 0.5), (99, 0.5), (100, 0.9), (1000, 0.99)])
def test_a_quantile_is_stated_only_where_enough_lies_beyond(samples: int, q: float) -> None:
    assert statable([Standing([Block(1, (1,) * samples)])]) == q


class Disturbed(Faked):
    """One that falls into busy moments: so many of its first blocks take ten times as long."""

    busy_blocks = 2

    def block(self) -> Block:
        block = super().block()
        share = 10 if self.blocks <= self.busy_blocks else 1
        return Block(block.cost_ns * share, tuple(share * one for one in block.samples_ns))


def test_the_default_outlives_a_busy_moment() -> None:
    clock = FakeClock()
    contestants = [Disturbed("default", clock, 10_000_000), Faked("a", clock, 12_000_000)]
    assert race(contestants, rounds=12)["default"].out is not None
    contestants = [Disturbed("default", clock, 10_000_000), Faked("a", clock, 12_000_000)]
    standings = race(contestants, rounds=12, hold="default")
    assert standings["default"].out is None
    assert busy(standings["default"]) and not busy(standings["a"])


def test_the_default_goes_only_where_it_is_surely_twice_as_slow() -> None:
    clock = FakeClock()
    fast = Faked("fast", clock, 10_000_000)
    kept = race([fast, Faked("default", clock, 19_000_000)], rounds=12, hold="default")
    assert kept["default"].out is None
    gone = race([fast, Faked("default", clock, 30_000_000)], rounds=12, hold="default")
    assert gone["default"].out is not None and len(gone["default"].blocks) == 3


def settled(times: dict[str, int], noise: float, rounds: int, q: float = 0.5) -> tuple[str, str]:
    clock = FakeClock()
    contestants = [Faked(name, clock, ns, noise=noise) for name, ns in times.items()]
    standings = race(contestants, rounds=rounds, keep=len(times))
    name, doubted = settle(standings, dict.fromkeys(times, 0.0), q, "default")
    return name, doubted.get("other", "")


def test_only_who_is_surely_better_dethrones_the_default() -> None:
    assert settled({"default": 10_000_000, "other": 9_000_000}, 0.03, 12) == ("other", "")
    assert settled({"default": 10_000_000, "other": 9_000_000}, 0.03, 12, 0.9)[0] == "other"


@pytest.mark.parametrize(
    ("costs_ns", "why"),
    [
        ((90, 130, 80, 140, 80, 120), ""),  # its median is worse: nothing to doubt
        ((60, 150, 70, 140, 70, 90), "not surely better than the default"),  # leads by luck
    ],
)
def test_whoever_leads_by_luck_does_not_dethrone_the_default(
    costs_ns: tuple[int, ...], why: str
) -> None:
    standings = {
        "default": Standing([Block(100)] * 6),
        "other": Standing([Block(cost) for cost in costs_ns]),
    }
    name, doubted = settle(standings, {"default": 0.0, "other": 4.0}, 0.5, "default")
    assert name == "default"
    assert doubted.get("other", "")[: len(why)] == why and bool(doubted) == bool(why)


def test_few_rounds_need_a_clear_lead() -> None:
    near = {"default": 10_000_000, "other": 9_000_000}
    assert settled(near, 0.01, 2)[0] == "default"
    assert settled({"default": 10_000_000, "other": 4_000_000}, 0.01, 2)[0] == "other"


def test_without_the_default_the_best_wins() -> None:
    assert settled({"a": 10_000_000, "other": 9_000_000}, 0.0, 2) == ("other", "")


def test_the_next_best_has_its_chance_where_the_best_is_doubted() -> None:
    standings = {
        "default": Standing([Block(100)] * 6),
        "lucky": Standing([Block(cost) for cost in (60, 150, 70, 140, 70, 75)]),
        "other": Standing([Block(90)] * 6),
    }
    name, doubted = settle(standings, dict.fromkeys(standings, 0.0), 0.5, "default")
    assert name == "other" and list(doubted) == ["lucky"]


def test_who_never_met_is_compared_through_those_who_met_both() -> None:
    """The second race runs on a box twice as slow: costs of two races are never compared."""
    first = {"default": Standing([Block(30)] * 4), "leader": Standing([Block(10)] * 4)}
    second = {"leader": Standing([Block(20)] * 4), "best": Standing([Block(16)] * 4)}
    assert relative([first, second], "best", "default") == pytest.approx(3.75)
    assert relative([first, second], "best", "best") == 1.0
    assert relative([first], "best", "default") is None
