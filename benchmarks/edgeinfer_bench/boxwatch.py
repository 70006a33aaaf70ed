"""Looks at the box again and again while something is measured in other processes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from types import TracebackType

from edgeinfer.machine.energy import Periods
from edgeinfer.timing import now_ns
from edgeinfer_bench.boxstate import BoxState, look

Samples = Sequence[tuple[int, BoxState]]

# Past one hundredth of the time, the 99th percentile is the throttling's and not the model's.
MAX_THROTTLED_SHARE = 0.01
MAX_CLOCK_FALL = 0.20
# A look every half second fills this in 17 minutes; then every other one goes.
_MOST = 2048


@dataclass(frozen=True)
class _Kept:
    index: int
    at_ns: int
    state: BoxState


class BoxWatch:
    """Samples of the box's state, taken by a thread from `start` to `stop`.

    There is one of the start and one of the stop. A run that lasts long is thinned out evenly, so
    that memory stays bounded; what slowed the box at a moment that was thinned out is kept with
    the next one.

    Args:
        observe: what looks at the box.
        clock: monotonic nanoseconds, the same that the measurement goes by.
        interval_s: between two looks, in seconds.
        most: samples that are kept.
    """

    def __init__(
        self,
        observe: Callable[[], BoxState] = look,
        clock: Callable[[], int] = now_ns,
        interval_s: float = 0.5,
        most: int = _MOST,
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._interval_s = interval_s
        self._most = max(4, most)
        self._kept: list[_Kept] = []
        self._seen = 0
        self._stride = 1
        self._used_pj = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None

    @property
    def samples(self) -> tuple[tuple[int, BoxState], ...]:
        """Time in nanoseconds and state, in order."""
        with self._lock:
            return tuple((kept.at_ns, kept.state) for kept in self._kept)

    def start(self) -> BoxWatch:
        """Take the first sample, and let a thread take the others.

        Raises:
            RuntimeError: if it was started before.
        """
        if self._thread is not None:
            raise RuntimeError("this watch was started before: make another one")
        self.sample()
        self._thread = threading.Thread(target=self._run, name="edgeinfer-boxwatch", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread and take the last sample; what kept it from looking is in `error`."""
        if self._thread is None or self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        if self.error is None:
            self._look()

    def sample(self) -> None:
        """Look at the box once, now."""
        at_ns, state = self._clock(), self._observe()
        with self._lock:
            self._keep(at_ns, self._metered(at_ns, state))

    def __enter__(self) -> BoxWatch:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while self.error is None and not self._ended.wait(self._interval_s):
            self._look()

    def _look(self) -> None:
        """What goes wrong with looking must not cost what was measured."""
        try:
            self.sample()
        except Exception as error:
            self.error = error

    def _metered(self, at_ns: int, state: BoxState) -> BoxState:
        """Make a counter of the power that a Jetson tells, by the trapezoidal rule."""
        if state.energy_nj is not None or state.power_mw is None:
            return state
        if self._kept and self._kept[-1].state.power_mw is not None:
            before = self._kept[-1]
            mean_mw = (state.power_mw + (before.state.power_mw or 0.0)) / 2
            self._used_pj += mean_mw * (at_ns - before.at_ns)
        return replace(state, energy_nj=round(self._used_pj / 1000))

    def _keep(self, at_ns: int, state: BoxState) -> None:
        """Keep every `stride`-th sample, and the newest."""
        if self._kept and self._kept[-1].index % self._stride:
            state = _merged(self._kept.pop().state, state)
        self._kept.append(_Kept(self._seen, at_ns, state))
        self._seen += 1
        if len(self._kept) <= self._most:
            return
        self._stride *= 2
        thinned: list[_Kept] = []
        dropped: BoxState | None = None
        newest = self._kept[-1]
        for kept in self._kept:
            if kept.index % self._stride and kept is not newest:
                dropped = kept.state
                continue
            state = kept.state if dropped is None else _merged(dropped, kept.state)
            thinned.append(replace(kept, state=state))
            dropped = None
        self._kept = thinned


def _merged(dropped: BoxState, kept: BoxState) -> BoxState:
    """A state that also says what slowed the box at a moment before, which is forgotten."""
    return replace(
        kept,
        slowed_by=_both(dropped.slowed_by, kept.slowed_by),
        gpu_throttle=_both(dropped.gpu_throttle, kept.gpu_throttle),
    )


def _both(before: tuple[str, ...] | None, after: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if before is None or after is None:
        return before if after is None else after
    return tuple(dict.fromkeys((*before, *after)))


def throttled_spans(
    samples: Samples, periods: Sequence[tuple[int, int]] = ()
) -> list[tuple[int, int]]:
    """When the box throttled: by quota, heat, a lowered clock, or the GPU's.

    Args:
        samples: of `BoxWatch`.
        periods: where given, only clocks at those moments count: an idle box may clock down.

    Returns:
        When each span began and ended, in nanoseconds, in order.
    """
    lowered = _lowered(samples, Periods(periods))
    spans: list[tuple[int, int]] = []
    for ((began, before), (ended, after)), low in zip(
        itertools.pairwise(samples), lowered[1:], strict=True
    ):
        if low or _throttled(before, after, ended - began):
            if spans and spans[-1][1] == began:
                began = spans.pop()[0]
            spans.append((began, ended))
    return spans


def _throttled(before: BoxState, after: BoxState, elapsed_ns: int) -> bool:
    """Whether quota, heat or a power limit took speed between two looks."""
    waited_us = _rise(before.throttled_us, after.throttled_us)
    return bool(
        after.slowed_by
        or after.gpu_throttle
        or _rise(before.thermal_events, after.thermal_events) > 0
        or waited_us * 1000 > MAX_THROTTLED_SHARE * elapsed_ns
    )


def _rise(before: int | None, after: int | None) -> int:
    return 0 if before is None or after is None else after - before


def _lowered(samples: Samples, wanted: Periods) -> list[bool]:
    """For each look: whether the clock, or what it may reach, was below what it had been."""
    lowered, best, best_limit = [], 0.0, 0.0
    clocks = [state.cpu_mhz for _, state in samples]
    for index, (at_ns, state) in enumerate(samples):
        limit = state.cpu_limit_mhz
        low = limit is not None and limit < best_limit
        best_limit = max(best_limit, limit or 0.0)
        if not wanted.total_ns or wanted.holds(at_ns):
            near = [clock for clock in clocks[max(0, index - 1) : index + 2] if clock is not None]
            # One low look is no fall.
            clock = median(near) if near else 0.0
            low = low or 0.0 < clock < (1 - MAX_CLOCK_FALL) * best
            best = max(best, clock)
        lowered.append(low)
    return lowered
