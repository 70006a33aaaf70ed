from __future__ import annotations

import itertools
import threading

import pytest

from edgeinfer.machine.energy import energy_between
from edgeinfer.testing import FakeClock
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.boxwatch import BoxWatch, throttled_spans

SECOND = 1_000_000_000


def watch_of(
    clock: FakeClock, *states: BoxState, step_ns: int = SECOND, most: int = 2048
) -> BoxWatch:
    """A watch that has seen these states, one a second."""
    coming = iter(states)
    watch = BoxWatch(lambda: next(coming), clock, most=most)
    for _ in states:
        watch.sample()
        clock.advance(step_ns)
    return watch


def test_there_is_a_sample_of_the_start_and_one_of_the_stop() -> None:
    clock = FakeClock(5)
    with BoxWatch(BoxState, clock, interval_s=3600.0) as watch:
        clock.advance(10)
    assert watch.samples == ((5, BoxState()), (15, BoxState()))
    watch.stop()
    assert len(watch.samples) == 2


def test_a_watch_that_never_started_stops() -> None:
    watch = BoxWatch(BoxState)
    watch.stop()
    assert watch.samples == ()


def test_a_watch_is_started_once() -> None:
    with BoxWatch(BoxState, interval_s=3600.0) as watch, pytest.raises(RuntimeError):
        watch.start()


def test_a_named_thread_looks_meanwhile_and_is_gone_after() -> None:
    seen, names = threading.Event(), []

    def observe() -> BoxState:
        names.append(threading.current_thread().name)
        if len(names) >= 3:
            seen.set()
        return BoxState()

    with BoxWatch(observe, interval_s=0.0) as watch:
        assert seen.wait(60)
    assert "edgeinfer-boxwatch" in names
    assert "edgeinfer-boxwatch" not in [thread.name for thread in threading.enumerate()]
    assert len(watch.samples) == len(names)


def failing() -> tuple[BoxWatch, threading.Event]:
    failed, calls = threading.Event(), []

    def observe() -> BoxState:
        calls.append(1)
        if len(calls) == 2:
            failed.set()
            raise OSError("planted")
        return BoxState()

    return BoxWatch(observe, interval_s=0.0), failed


def test_a_look_that_fails_ends_the_watch_and_is_kept() -> None:
    watch, failed = failing()
    with watch:
        assert failed.wait(60)
    assert str(watch.error) == "planted" and len(watch.samples) == 1
    watch.stop()


def test_a_long_run_is_thinned_out_evenly_and_keeps_its_ends() -> None:
    samples = watch_of(FakeClock(0), *[BoxState()] * 20_000, most=256).samples
    times = [at_ns // SECOND for at_ns, _ in samples]
    assert 128 < len(times) <= 256
    assert (times[0], times[-1]) == (0, 19_999)
    assert {after - before for before, after in itertools.pairwise(times[:-1])} == {128}


def test_what_slowed_the_box_is_kept_when_its_sample_is_not() -> None:
    states = [BoxState(slowed_by=(), gpu_throttle=())] * 64
    states[5] = BoxState(slowed_by=("cpufreq-cpu0",), gpu_throttle=())
    states[50] = BoxState(slowed_by=(), gpu_throttle=("hardware slowdown",))
    watch = watch_of(FakeClock(), *states, most=8)
    assert len(watch.samples) <= 8
    kept = [state for _, state in watch.samples]
    assert [state.slowed_by for state in kept].count(("cpufreq-cpu0",)) == 1
    assert [state.gpu_throttle for state in kept].count(("hardware slowdown",)) == 1


def test_the_power_of_a_jetson_becomes_a_counter() -> None:
    drawn = (1000.0, 3000.0, 3000.0)
    states = [BoxState(power_mw=mw, energy_source="ina3221:VDD_IN") for mw in drawn]
    clock = FakeClock(0)
    samples = watch_of(clock, *states).samples
    assert [state.energy_nj for _, state in samples] == [0, 2 * 10**9, 5 * 10**9]
    assert energy_between(samples, [(SECOND, 2 * SECOND)]) == ("ina3221:VDD_IN", 3.0)


def test_thinning_loses_no_energy() -> None:
    states = [
        BoxState(power_mw=float(index), energy_source="ina3221:VDD_IN") for index in range(99)
    ]
    samples = watch_of(FakeClock(0), *states, most=8).samples
    assert energy_between(samples, [(0, 98 * SECOND)]) == (
        "ina3221:VDD_IN",
        pytest.approx(sum(range(98)) / 1000 + 98 / 2 / 1000),
    )


CALM = BoxState(
    cpu_mhz=2000.0,
    cpu_limit_mhz=2400.0,
    throttled_us=0,
    thermal_events=0,
    slowed_by=(),
    gpu_throttle=(),
)


@pytest.mark.parametrize(
    "planted",
    [
        {"throttled_us": 20_000},
        {"thermal_events": 1},
        {"slowed_by": ("cpufreq-cpu0",)},
        {"gpu_throttle": ("hardware slowdown",)},
        {"cpu_limit_mhz": 1500.0},
        {"cpu_mhz": 1500.0},
    ],
    ids=str,
)
def test_spans_of_throttling_are_found_and_joined(planted: dict[str, object]) -> None:
    counters = ("throttled_us", "thermal_events")
    states = [CALM] * 4
    for step in (1, 2, 3):
        values = {k: v * step if k in counters else v for k, v in planted.items()}  # type: ignore[operator]
        states.append(BoxState(**{**CALM.__dict__, **values}))  # type: ignore[arg-type]
    last = {k: v for k, v in states[-1].__dict__.items() if k in counters}
    states += [BoxState(**{**CALM.__dict__, **last})] * 4
    samples = [(index * SECOND, state) for index, state in enumerate(states)]
    assert throttled_spans(samples) == [(3 * SECOND, 6 * SECOND)]
    assert throttled_spans(samples[:4]) == []


def test_a_clock_that_is_low_between_measurements_is_no_throttling() -> None:
    idle = BoxState(cpu_mhz=800.0)
    samples = [(i * SECOND, idle if 4 <= i < 8 else BoxState(cpu_mhz=2000.0)) for i in range(12)]
    measured = [(0, 3 * SECOND), (8 * SECOND, 11 * SECOND)]
    assert throttled_spans(samples)
    assert throttled_spans(samples, measured) == []
