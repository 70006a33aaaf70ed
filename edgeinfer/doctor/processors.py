"""Processors: how many the process gets, how fast they may run, what the variables say."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgeinfer.doctor.box import Box, whole
from edgeinfer.doctor.finding import Finding, ok, warn
from edgeinfer.machine import cpu_stat, listed, read, read_int

_POLICIES = "sys/devices/system/cpu/cpufreq/policy*"
# On these drivers "powersave" follows the load; the preference decides how eagerly
# (https://docs.kernel.org/admin-guide/pm/intel_pstate.html, amd-pstate.html).
_DYNAMIC = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
_SLUGGISH = ("power", "balance_power")
# Of the periods in which the group ran; below that a burst now and then.
_THROTTLED_SHARE = 0.05
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


def usable(box: Box) -> int:
    """Threads that can really run at once, as `edgeinfer.machine.usable_cpus` counts them."""
    return max(1, box.cpus if box.quota is None else min(box.cpus, math.ceil(box.quota)))


def quota(box: Box) -> Iterator[Finding]:
    """What control groups, cpusets and offline processors leave."""
    limit, there = box.quota, box.host_cpus
    offline = listed(box.text("sys/devices/system/cpu/offline"))
    present = listed(box.text("sys/devices/system/cpu/present"))
    parts = [f"{usable(box)} of {there} processors"]
    parts += [f"quota {limit:g}"] if limit is not None else []
    parts += [f"scheduled on {box.cpus}"] if box.cpus < there else []
    parts += [f"{len(offline & present)} offline"] if offline & present else []
    detail = ", ".join(parts)
    if limit is not None and limit < 1:
        yield warn(
            "quota",
            f"{detail}: less than one processor, so every frame waits for the next period",
            "grant at least one: docker run --cpus 2, resources.limits.cpu of Kubernetes, or "
            "CPUQuota= of systemd",
        )
    else:
        yield ok("quota", detail)
    stat = cpu_stat(*box.groups) or {}
    if limit is not None and stat.get("nr_periods", 0) >= 100:
        share = stat["nr_throttled"] / stat["nr_periods"]
        if share > _THROTTLED_SHARE:
            yield warn(
                "throttled",
                f"the quota was used up in {share:.0%} of {stat['nr_periods']} periods, "
                f"{stat['throttled_us'] / 1e6:.1f} s of waiting in all",
                f"raise the quota, or run fewer threads: --threads {max(1, math.floor(limit))}",
            )


def threads(box: Box) -> Iterator[Finding]:
    """Variables that give libraries another number of threads than the box can run."""
    limit = usable(box)
    for name in _THREAD_VARIABLES:
        value = box.environment.get(name)
        if value is None:
            continue
        asked = [whole(part) for part in value.split(",")]
        if any(number is None or number < 1 for number in asked):
            yield warn("threads", f"{name}={value} is no number of threads", f"unset {name}")
        elif max(number or 0 for number in asked) > limit:
            yield warn(
                "threads",
                f"{name}={value}, but {limit} threads can run at once here",
                f"unset {name}, or export {name}={limit}",
            )


def governor(box: Box) -> Iterator[Finding]:
    """Governors that keep processors slow, and limits below what the processor can do."""
    policies = box.glob(_POLICIES)
    governors = {policy.name: read(policy / "scaling_governor") for policy in policies}
    names = sorted({name for name in governors.values() if name})
    if not names:
        yield ok("governor", "this box does not tell (usual for virtual machines)")
        return
    slow = [policy for policy in policies if _is_slow(box, policy.name)]
    host = "on the host: " if box.contained else ""
    if slow:
        driver = read(slow[0] / "scaling_driver")
        kept = "slow to speed up" if driver in _DYNAMIC else "kept at the lowest clock"
        yield warn(
            "governor",
            f"{names[0] if len(names) == 1 else ', '.join(names)} (driver {driver}): "
            f"{len(slow)} of {len(policies)} clock groups are {kept}",
            f"{host}echo performance | sudo tee /{_POLICIES}/scaling_governor (until the next "
            f"start; cpufrequtils or tuned keep it)",
        )
    else:
        yield ok("governor", ", ".join(names))


def _is_slow(box: Box, policy: str) -> bool:
    folder = box.root / "sys/devices/system/cpu/cpufreq" / policy
    if read(folder / "scaling_governor") != "powersave":
        return False
    if read(folder / "scaling_driver") in _DYNAMIC:
        return read(folder / "energy_performance_preference") in _SLUGGISH
    return True


def clocks(box: Box) -> Iterator[Finding]:
    """Highest clocks that somebody has set below what the hardware offers."""
    if box.text("etc/nvpmodel.conf") is not None:
        return  # a Jetson's power mode sets them, and has a check of its own
    for policy in box.glob(_POLICIES):
        most, allowed = read_int(policy / "cpuinfo_max_freq"), read_int(policy / "scaling_max_freq")
        if most and allowed and allowed < 0.95 * most:
            host = "on the host: " if box.contained else ""
            yield warn(
                "clock limit",
                f"{policy.name} may run at {allowed / 1e6:.2f} GHz of {most / 1e6:.2f} GHz: "
                f"somebody set it, or heat did",
                f"{host}echo {most} | sudo tee {box.shown(policy)}/scaling_max_freq; if it falls "
                f"again, cool the box",
            )
