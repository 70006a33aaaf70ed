"""What the box is doing at one moment: clocks, heat, load, throttling, memory, energy."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeinfer.machine import cpu_stat, power_modes, read, read_int
from edgeinfer.machine.energy import energy_nj, energy_range_nj, power_mw
from edgeinfer.machine.gpu import GpuState, gpu_state
from edgeinfer.machine.thermal import overcurrent_events, processor_celsius, slowed_by


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
        cpu_limit_mhz: the clock that the fastest processor may reach now.
        cpu_max_mhz: the clock that it was built for.
        busy_ticks: time that the processors which this process may use were busy.
        usable_ticks: all time of those.
        own_ticks: processor time of this process and of all that it started.
        temperature_c: the hottest sensor of the processor, in degrees Celsius.
        slowed_by: what takes speed off processor or GPU for heat; empty: nothing.
        overcurrent_events: times that a Jetson slowed down because it drew too much.
        memory_available_bytes: what programs can still get without swapping.
        memory_total_bytes: physical memory.
        swapped_pages: pages that went to swap or came from there.
        power_mode: a Jetson's, by name.
        gpu_mhz: the fastest GPU's clock.
        gpu_temperature_c: the hottest GPU's temperature.
        gpu_throttle: what takes speed off a GPU, by NVML's names; empty: nothing.
        gpu_untold: why an NVIDIA GPU that is there tells nothing.
        energy_nj: nanojoules used since some moment: a counter.
        energy_range_nj: where a part of it begins anew; None: it never does, or is not known to.
        energy_source: who told: ``rapl`` (processor packages), ``nvml`` (graphics cards) or both;
            ``ina3221:`` and the rails of a Jetson.
        power_mw: what a Jetson draws now; `BoxWatch` makes a counter of it.
    """

    governor: str | None = None
    cpu_mhz: float | None = None
    load: tuple[float, ...] | None = None
    throttled_periods: int | None = None
    throttled_us: int | None = None
    steal_ticks: int | None = None
    total_ticks: int | None = None
    thermal_events: int | None = None
    cpu_limit_mhz: float | None = None
    cpu_max_mhz: float | None = None
    busy_ticks: int | None = None
    usable_ticks: int | None = None
    own_ticks: int | None = None
    temperature_c: float | None = None
    slowed_by: tuple[str, ...] | None = None
    overcurrent_events: int | None = None
    memory_available_bytes: int | None = None
    memory_total_bytes: int | None = None
    swapped_pages: int | None = None
    power_mode: str | None = None
    gpu_mhz: float | None = None
    gpu_temperature_c: float | None = None
    gpu_throttle: tuple[str, ...] | None = None
    gpu_untold: str | None = None
    energy_nj: int | None = None
    energy_range_nj: int | None = None
    energy_source: str | None = None
    power_mw: float | None = None


def look(root: Path = Path("/")) -> BoxState:
    """Read the state of the box.

    That takes less than a millisecond on a desktop processor; longer where NVML or a power monitor
    on the I2C bus has to answer.

    Args:
        root: where ``proc``, ``sys`` and ``etc`` are.
    """
    cpus = root / "sys/devices/system/cpu"
    throttled = cpu_stat(root / "sys/fs/cgroup", root / "proc/self/cgroup") or {}
    steal, total, busy, usable = _ticks(root)
    memory = _numbers(root / "proc/meminfo")
    pages = _numbers(root / "proc/vmstat")
    swapped = [pages[name] for name in ("pswpin", "pswpout") if name in pages]
    modes = power_modes(root)
    gpu = gpu_state(root)
    energy, energy_range, energy_source, power = _energy(root, gpu)
    return BoxState(
        governor=read(cpus / "cpu0/cpufreq/scaling_governor"),
        cpu_mhz=_policy_mhz(root, "scaling_cur_freq") or _cpuinfo_mhz(root),
        load=_load(root),
        throttled_periods=throttled.get("nr_throttled"),
        throttled_us=throttled.get("throttled_us"),
        steal_ticks=steal,
        total_ticks=total,
        thermal_events=_sum(_throttle_counts(root)),
        cpu_limit_mhz=_policy_mhz(root, "scaling_max_freq"),
        cpu_max_mhz=_policy_mhz(root, "cpuinfo_max_freq"),
        busy_ticks=busy,
        usable_ticks=usable,
        own_ticks=_own_ticks(root),
        temperature_c=processor_celsius(root),
        slowed_by=slowed_by(root),
        overcurrent_events=overcurrent_events(root),
        memory_available_bytes=_bytes(memory.get("MemAvailable")),
        memory_total_bytes=_bytes(memory.get("MemTotal")),
        swapped_pages=sum(swapped) if swapped else None,
        power_mode=None if modes is None else modes.name,
        gpu_mhz=gpu.mhz,
        gpu_temperature_c=gpu.celsius,
        gpu_throttle=gpu.throttle,
        gpu_untold=gpu.untold,
        energy_nj=energy,
        energy_range_nj=energy_range,
        energy_source=energy_source,
        power_mw=power,
    )


def _energy(root: Path, gpu: GpuState) -> tuple[int | None, int | None, str | None, float | None]:
    """Counter, where a part of it begins anew, who told, and milliwatts now."""
    packages = root / "sys/class/powercap"
    counters = {"rapl": energy_nj(packages), "nvml": gpu.energy_nj}
    told = {source: value for source, value in counters.items() if value is not None}
    if told:
        return sum(told.values()), energy_range_nj(packages), "+".join(told), None
    rails = power_mw(root)
    return (
        (None, None, None, None) if rails is None else (None, None, f"ina3221:{rails[0]}", rails[1])
    )


def _sum(paths: tuple[Path, ...]) -> int | None:
    found = [value for value in map(read_int, paths) if value is not None]
    return sum(found) if found else None


@functools.cache
def _throttle_counts(root: Path) -> tuple[Path, ...]:
    cpus = root / "sys/devices/system/cpu"
    return tuple(sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")))


@functools.cache
def _policies(root: Path) -> tuple[str, ...]:
    """Folders of cpufreq, each once: processors of a cluster share one."""
    found = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq")
    return tuple(sorted({os.path.realpath(folder) for folder in found}))


def _policy_mhz(root: Path, name: str) -> float | None:
    """The highest value, in MHz, of an attribute that tells kHz.

    See https://docs.kernel.org/admin-guide/pm/cpufreq.html, policy interface in sysfs.
    """
    values = (read_int(Path(folder, name)) for folder in _policies(root))
    found = [value for value in values if value is not None]
    return max(found) / 1000 if found else None


def _cpuinfo_mhz(root: Path) -> float | None:
    lines = (read(root / "proc/cpuinfo", 1 << 24) or "").splitlines()
    speeds = [line.partition(":")[2] for line in lines if line.lower().startswith("cpu mhz")]
    return max(map(float, speeds), default=None)


def _load(root: Path) -> tuple[float, ...] | None:
    text = read(root / "proc/loadavg")
    return None if text is None else tuple(float(item) for item in text.split()[:3])


def _numbers(path: Path) -> dict[str, int]:
    """The first number of each line, by the line's first word: meminfo, vmstat."""
    pairs = (line.split(None, 2) for line in (read(path) or "").splitlines())
    return {pair[0].rstrip(":"): int(pair[1]) for pair in pairs if len(pair) > 1}


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024


def _ticks(root: Path) -> tuple[int | None, int | None, int | None, int | None]:
    """Stolen and all processor time; busy and all time of usable processors; proc_stat(5)."""
    steal = total = None
    usable: list[list[int]] = []
    names = {f"cpu{number}" for number in _affinity()}
    for line in (read(root / "proc/stat", 1 << 20) or "").splitlines():
        fields = line.split()
        if not line.startswith("cpu") or len(fields) < 9:
            break
        # guest and guest_nice, the last two, are already counted in user and nice.
        ticks = [int(item) for item in fields[1:9]]
        if fields[0] == "cpu":
            steal, total = ticks[7], sum(ticks)
        elif fields[0] in names:
            usable.append(ticks)
    if not usable:
        return steal, total, None, None
    # Neither idle, nor waiting for a disk, nor given to others by the hypervisor.
    busy = sum(sum(ticks[:3]) + sum(ticks[5:7]) for ticks in usable)
    return steal, total, busy, sum(map(sum, usable))


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _own_ticks(root: Path) -> int | None:
    """Processor time of this process, its children that ended, and all that run below it."""
    mine = (read(root / "proc/self/stat") or "").partition(" ")[0]
    if not mine.isdigit():
        return None
    told = (root / f"proc/self/task/{mine}/children").exists()
    children = _told_children(root) if told else _found_children(root)
    total, waiting = 0, [mine]
    while waiting:
        pid = waiting.pop()
        total += _process(root, pid)[1]
        waiting += children(pid)
    return total


def _process(root: Path, pid: str) -> tuple[str, int]:
    """Its parent, and the processor time of it and of its children that ended; proc_pid_stat(5)."""
    # Its name, in brackets, may hold anything.
    fields = (read(root / f"proc/{pid}/stat") or "").rpartition(")")[2].split()
    return (fields[1], sum(map(int, fields[11:15]))) if len(fields) > 14 else ("", 0)


def _told_children(root: Path) -> Callable[[str], list[str]]:
    """By the kernel (CONFIG_PROC_CHILDREN), thread by thread."""

    def children(pid: str) -> list[str]:
        tasks = (root / f"proc/{pid}/task").glob("*/children")
        return [child for file in tasks for child in (read(file) or "").split()]

    return children


def _found_children(root: Path) -> Callable[[str], list[str]]:
    """By looking at all processes."""
    found: dict[str, list[str]] = {}
    for name in os.listdir(root / "proc"):
        if name.isdigit():
            found.setdefault(_process(root, name)[0], []).append(name)
    return lambda pid: found.get(pid, [])
