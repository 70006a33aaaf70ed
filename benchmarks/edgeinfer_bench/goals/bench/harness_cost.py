"""What the harness adds to a frame: beside a bare loop over the same stub, in one run."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer.measure import difference, interleave
from edgeinfer.testing import FakeClock, StubModel, StubSource
from edgeinfer.timing import now_ns
from edgeinfer_bench.feed import Feed
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.loops import LOOPS, Bench
from edgeinfer_bench.order import Order

_FRAMES = 300
_ROUNDS = 40
_BOUND_US = 20.0
_LOOPS = {
    "back to back": Order("back-to-back", _FRAMES),
    # Due all at once: nothing is waited for, everything else is done.
    "open loop": Order("open-loop", _FRAMES, interval_ns=1),
}


def added_ns(
    order: Order, rounds: int, clock: Callable[[], int] = now_ns
) -> tuple[float, float, float]:
    """Nanoseconds that a loop adds to a frame, with their 95% interval.

    Args:
        clock: by which; a thread's processor time does not count who else has the box.
    """
    bench = _bench()
    frame = bench.feed.next()
    assert frame is not None  # the stub's source has frames

    def bare() -> None:
        for _ in range(_FRAMES):
            bench.lanes[0].predict(frame)

    loop: Callable[[], object] = lambda: LOOPS[order.kind](bench, order)  # noqa: E731
    both = {"bare": bare, "loop": lambda: (loop(), None)[1]}
    taken = interleave(both, rounds=rounds, warmup=3, clock=clock)
    found = difference(taken["bare"], taken["loop"])
    return found.ns / _FRAMES, found.low / _FRAMES, found.high / _FRAMES


def _bench() -> Bench:
    stub_clock, ahead = FakeClock(), 0

    # The harness reads the real clock, as it does in a real run; the stub moves a clock of its own.
    # To wait is no work: the clock goes on to the moment instead.
    def clock() -> int:
        return now_ns() + ahead

    def wait_until(until_ns: int) -> None:
        nonlocal ahead
        ahead += max(0, until_ns - clock())

    model = StubModel(stub_clock)
    return Bench(model, Feed(StubSource(stub_clock, 64), clock), [model], clock, wait_until)


def harness_cost(context: Context) -> list[Goal]:
    """One goal per loop."""
    goals = []
    for name, order in _LOOPS.items():
        value, low, high = added_ns(order, context.rounds(_ROUNDS, 10))
        goals.append(
            Goal(
                name=f"added by the harness to a frame, {name}",
                value=value / 1000,
                bound=_BOUND_US,
                unit="µs",
                detail={"95% interval": f"{low / 1000:.1f} to {high / 1000:.1f} µs"},
            )
        )
    return goals
