"""What the box was doing at one moment: clocks, load, throttling, stolen time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeinfer.machine import cpu_stat, read


@dataclass(frozen=True)
class BoxState:
    """Counters and gauges; None where this box does not tell.

    Attributes:
        governor: of the first processor.
        cpu_mhz: the fastest processor's clock now; a busy one is never slower than an idle one.
        load: averages over 1, 5 and 15 minutes.
        throttled_periods: periods in which the control group's quota was used up.
        throttled_us: microseconds that its threads were kept waiting for that.
        steal_ticks: processor time that the hypervisor gave to others.
        total_ticks: all processor time.
        thermal_events: times that the processor slowed down for heat.
    """

    governor: str | None = None
    cpu_mhz: float | None = None
    load: tuple[float, ...] | None = None
    throttled_periods: int | None = None
    throttled_us: int | None = None
    steal_ticks: int | None = None
    total_ticks: int | None = None
    thermal_events: int | None = None


def look(root: Path = Path("/")) -> BoxState:
    """Read the state of the box; takes about a millisecond.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    cpus = root / "sys/devices/system/cpu"
    throttled = cpu_stat(root / "sys/fs/cgroup", root / "proc/self/cgroup") or {}
    steal, total = _ticks(root)
    return BoxState(
        governor=read(cpus / "cpu0/cpufreq/scaling_governor"),
        cpu_mhz=_clock_mhz(root),
        load=_load(root),
        throttled_periods=throttled.get("nr_throttled"),
        throttled_us=throttled.get("throttled_us"),
        steal_ticks=steal,
        total_ticks=total,
        thermal_events=_sum(sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))),
    )


def _sum(paths: list[Path]) -> int | None:
    found = [int(text) for text in map(read, paths) if text is not None and text.isdigit()]
    return sum(found) if found else None


def _clock_mhz(root: Path) -> float | None:
    pattern = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
    known = [int(text) for text in map(read, root.glob(pattern)) if text and text.isdigit()]
    if known:
        return max(known) / 1000
    lines = (read(root / "proc/cpuinfo", 1 << 24) or "").splitlines()
    speeds = [line.partition(":")[2] for line in lines if line.lower().startswith("cpu mhz")]
    return max(map(float, speeds), default=None)


def _load(root: Path) -> tuple[float, ...] | None:
    text = read(root / "proc/loadavg")
    return None if text is None else tuple(float(item) for item in text.split()[:3])


def _ticks(root: Path) -> tuple[int | None, int | None]:
    """Stolen and all processor time, see proc_stat(5)."""
    first = (read(root / "proc/stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None, None
    # guest and guest_nice, the last two, are already counted in user and nice.
    ticks = [int(item) for item in first[1:9]]
    return ticks[7], sum(ticks)
