"""The box as measurements and compiled artefacts depend on it."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from edgeinfer.machine.board import board_model, l4t_release, nvidia_driver, power_modes
from edgeinfer.machine.groups import cgroup_quota
from edgeinfer.machine.processor import listed, processor
from edgeinfer.machine.reading import read
from edgeinfer.records import dataclass

# What decides speed, as `differences` words it. Not the kernel: boxes patch it monthly, and which
# candidate wins does not hang on it.
_SPEED = {
    "cpu": "processor",
    "architecture": "architecture",
    "features": "instruction set",
    "cpus": "number of usable processors",
    "host_cpus": "number of processors",
    "quota_cpus": "quota of processors",
    "system": "operating system",
    "governor": "governor",
    "board": "board",
    "l4t": "release of Jetson Linux",
    "power_mode": "power mode",
    "nvidia_driver": "NVIDIA driver",
}
# Firmware and kernels reserve a little more or less from one boot to the next.
_SAME_MEMORY = 0.1


@dataclass(frozen=True)
class Machine:
    """A box, as far as measurements on it depend on it; the same after a reboot.

    Attributes:
        cpu: model name; on ARM the kinds of core.
        cpus: processors that this process may be scheduled on.
        quota_cpus: processors that the control groups grant, None for no limit.
        memory_bytes: physical memory.
        governor: of the first processor, None where the box does not tell.
        features: of the processor, as far as runtimes choose kernels by them.
        host_cpus: processors of the box, those included that are offline or given to others.
        board: what the device tree calls it (Jetson, Raspberry Pi).
        l4t: release of Jetson Linux.
        power_mode: a Jetson's, by name.
        nvidia_driver: version of the loaded kernel module.
    """

    cpu: str
    architecture: str
    cpus: int
    quota_cpus: float | None
    memory_bytes: int
    system: str
    kernel: str
    governor: str | None
    features: tuple[str, ...]
    host_cpus: int = 0
    board: str | None = None
    l4t: str | None = None
    power_mode: str | None = None
    nvidia_driver: str | None = None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Machine:
        """The machine of a stored record; what it does not know (another version's) is left out.

        Raises:
            ValueError: if a field without a default is missing.
        """
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        values["features"] = tuple(values.get("features") or ())
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"no description of a machine: {error}") from error

    def differences(self, before: Machine) -> list[str]:
        """What decides speed and was different then: ``the power mode was MAXN, now 15W``.

        Args:
            before: the machine on which something was measured or built.
        """
        found = []
        for name, words in _SPEED.items():
            then, now = getattr(before, name), getattr(self, name)
            if then != now:
                found.append(f"the {words} was {_said(then)}, now {_said(now)}")
        then_bytes, now_bytes = before.memory_bytes, self.memory_bytes
        if abs(then_bytes - now_bytes) > _SAME_MEMORY * max(then_bytes, now_bytes):
            gib = 1 << 30
            found.append(f"the memory was {then_bytes / gib:.1f} GiB, now {now_bytes / gib:.1f}")
        return found


def _said(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none of note"
    return f"{value:g}" if isinstance(value, float) else str(value)


def affinity_cpus() -> int:
    """Processors that this process may be scheduled on: cpusets count, offline ones do not."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Physical memory of the box in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def read_machine(root: Path = Path("/")) -> Machine:
    """Describe the box whose ``proc``, ``sys`` and ``etc`` lie under `root`: a few small files."""
    cpu, features = processor(root)
    modes = power_modes(root)
    cpus = root / "sys/devices/system/cpu"
    return Machine(
        cpu=cpu,
        architecture=platform.machine(),
        cpus=affinity_cpus(),
        quota_cpus=cgroup_quota(root / "sys/fs/cgroup", root / "proc/self/cgroup"),
        memory_bytes=memory_bytes(),
        system=platform.system(),
        kernel=platform.release(),
        governor=read(cpus / "cpu0/cpufreq/scaling_governor"),
        features=features,
        host_cpus=len(listed(read(cpus / "present"))) or os.cpu_count() or 1,
        board=board_model(root),
        l4t=l4t_release(root),
        power_mode=None if modes is None else modes.name,
        nvidia_driver=nvidia_driver(root),
    )


@functools.cache
def this_machine() -> Machine:
    """Describe this box; read once per process."""
    return read_machine()
