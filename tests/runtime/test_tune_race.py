"""The race: candidates of known latency under a fake clock; nothing here takes real time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from edgeinfer.errors import ProviderError
from edgeinfer.testing import FakeClock
from edgeinfer.tune.race import Block, Standing, choose, race, relative, statable

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


def test_who_never_met_is_compared_through_those_who_met_both() -> None:
    """The second race runs on a box twice as slow: costs of two races are never compared."""
    first = {"default": Standing([Block(30)] * 4), "leader": Standing([Block(10)] * 4)}
    second = {"leader": Standing([Block(20)] * 4), "best": Standing([Block(16)] * 4)}
    assert relative([first, second], "best", "default") == pytest.approx(3.75)
    assert relative([first, second], "best", "best") == 1.0
    assert relative([first], "best", "default") is None
