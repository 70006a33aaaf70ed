"""What this box really gives the process: processors, quota, memory, clocks, its fingerprint."""

from __future__ import annotations

import math
from pathlib import Path

from edgeinfer.machine.board import (
    PowerModes,
    board_model,
    l4t_release,
    nvidia_driver,
    power_modes,
)
from edgeinfer.machine.fingerprint import (
    Machine,
    affinity_cpus,
    memory_bytes,
    read_machine,
    this_machine,
)
from edgeinfer.machine.groups import cgroup_quota, cpu_stat, group_folders, memory_limit
from edgeinfer.machine.pages import Growth
from edgeinfer.machine.processor import listed
from edgeinfer.machine.reading import read, read_int

__all__ = [
    "Growth",
    "Machine",
    "PowerModes",
    "affinity_cpus",
    "board_model",
    "cgroup_quota",
    "cpu_stat",
    "give_back_memory",
    "group_folders",
    "l4t_release",
    "listed",
    "memory_bytes",
    "memory_limit",
    "nvidia_driver",
    "peak_memory_bytes",
    "power_modes",
    "read",
    "read_int",
    "read_machine",
    "this_machine",
    "usable_cpus",
]


def usable_cpus() -> int:
    """Threads that can really run at once: affinity and control-group quota, at least 1."""
    quota = cgroup_quota()
    cpus = affinity_cpus()
    return max(1, min(cpus, math.ceil(quota))) if quota is not None else cpus


def give_back_memory() -> None:
    """Return to the system what this process has freed, which glibc else keeps for later.

    Opening a model takes 15 MiB for a while (a YOLOv8n-like FP32), and running it does not reuse
    them: malloc_trim(3), which takes 1.5 ms. Other C libraries have no such call.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far, in bytes.

    Not `ru_maxrss` where the kernel tells better: that one starts at the size of the process which
    started this one (getrusage(2), proc_pid_status(5)).
    """
    for line in (read(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
