"""What this box really gives the process: processors, quota, memory, clocks, its fingerprint."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Machine:
    """A box, as far as measurements on it depend on it."""

    cpu: str
    architecture: str
    cpus: int
    quota_cpus: float | None
    memory_bytes: int
    system: str
    kernel: str
    governor: str | None
    features: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def cgroup_quota(root: Path = _CGROUP, self_file: Path = Path("/proc/self/cgroup")) -> float | None:
    """Processors that the control group grants, or None where it sets no limit.

    Every ancestor's limit counts (v2 ``cpu.max``; v1 ``cpu.cfs_quota_us``), see
    https://docs.kernel.org/admin-guide/cgroup-v2.html.
    """
    folders: list[Path] = [root, root / "cpu"]
    for line in (_read(self_file) or "").splitlines():
        _, controllers, inside = line.split(":", 2)
        base = root if controllers == "" else root / controllers
        parts = Path(inside.lstrip("/")).parts
        folders += [base.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    found: list[float] = []
    for folder in folders:
        limit = _read(folder / "cpu.max")
        if limit is not None:
            quota, _, period = limit.partition(" ")
        else:
            quota, period = (
                _read(folder / "cpu.cfs_quota_us") or "",
                _read(folder / "cpu.cfs_period_us") or "",
            )
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def affinity_cpus() -> int:
    """Processors that this process may be scheduled on (cpusets included)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_cpus() -> int:
    """Threads that can really run at once: affinity and control-group quota, at least 1."""
    quota = cgroup_quota()
    cpus = affinity_cpus()
    return max(1, min(cpus, math.ceil(quota))) if quota is not None else cpus


def memory_bytes() -> int:
    """Physical memory of the box in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpuinfo() -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    return fields


_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")


@functools.cache
def this_machine() -> Machine:
    """Describe this box; read once per process."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("features") or "").split())
    board = _read(Path("/proc/device-tree/model"))
    name = info.get("model name") or (board or "").rstrip("\0") or platform.machine()
    return Machine(
        cpu=name,
        architecture=platform.machine(),
        cpus=affinity_cpus(),
        quota_cpus=cgroup_quota(),
        memory_bytes=memory_bytes(),
        system=platform.system(),
        kernel=platform.release(),
        governor=_read(_CPU / "cpu0/cpufreq/scaling_governor"),
        features=tuple(feature for feature in _FEATURES if feature in flags),
    )


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far, in bytes.

    Not `ru_maxrss` where the kernel tells better: that one starts at the size of the process which
    started this one (getrusage(2), proc_pid_status(5)).
    """
    for line in (_read(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
