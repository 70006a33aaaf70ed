"""Runs of known latency that take no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from edgeinfer.testing import FakeClock, StubModel, StubSource
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.harness import Entry, run
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.report import Report

CALM = BoxState(
    governor="performance",
    cpu_mhz=2000.0,
    load=(0.0, 0.0, 0.0),
    throttled_periods=0,
    throttled_us=0,
    steal_ticks=0,
    total_ticks=1000,
    thermal_events=0,
)

MakeReport = Callable[..., Report]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def calm() -> BoxState:
    """A box on which nothing happens."""
    return CALM


@pytest.fixture
def make_report(clock: FakeClock) -> MakeReport:
    """Run stubs of known latency: one list of nanoseconds per model."""

    def make(*latencies_ns: Sequence[int], frames: int = 40, warmup: int = 3) -> Report:
        series = latencies_ns or ((2_000_000,),)
        entries = [
            Entry(
                f"model{index}",
                lambda values=values, index=index: StubModel(clock, values, name=f"model{index}"),
                lambda model: StubSource(clock, 30),
            )
            for index, values in enumerate(series)
        ]
        options = BenchOptions(frames=frames, warmup=warmup, block=5)
        return run(entries, options, command="edgeinfer bench x", clock=clock, observe=lambda: CALM)

    return make
