"""Where the checks read from: this box, or one that a test has planted."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from edgeinfer import cache
from edgeinfer.machine import affinity_cpus, cgroup_quota, listed, read
from edgeinfer.records import dataclass

_TOOL_TIMEOUT_S = 20.0


def run_tool(command: Sequence[str]) -> str | None:
    """What a program of the system prints; None where it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    from edgeinfer.child import Child

    finished = Child("edgeinfer.doctor.become", command).wait(_TOOL_TIMEOUT_S)
    return finished.stdout.decode(errors="replace") if finished.returncode == 0 else None


def _may_use(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


@dataclass(frozen=True)
class Box:
    """A box and a process on it; every part can be planted.

    Attributes:
        root: where ``proc``, ``sys``, ``etc`` and the rest of the file system begin.
        environment: the process's variables.
        paths: where Python looks for packages, in order.
        cache: the folder of what can be made again.
        run: a program of the system to what it prints, None where that fails.
        may_use: whether this user may read and write a file.
        free_bytes: how much room a folder's disk has, None where that is not told.
        now_s: seconds since 1970 by the box's clock.
        cpus: processors that the process may be scheduled on.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    cache: Path = field(default_factory=cache.root)
    run: Callable[[Sequence[str]], str | None] = run_tool
    may_use: Callable[[Path], bool] = _may_use
    free_bytes: Callable[[Path], int | None] = _free_bytes
    now_s: Callable[[], float] = time.time
    cpus: int = field(default_factory=affinity_cpus)

    def text(self, name: str, limit: int = 65536) -> str | None:
        """The text of a file below the root, None where it cannot be read."""
        return read(self.root / name, limit)

    def number(self, name: str) -> int | None:
        """The whole number in a file below the root, or None."""
        return whole(self.text(name))

    def glob(self, pattern: str) -> list[Path]:
        """Files below the root, sorted; a folder that may not be listed counts as empty."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []

    def shown(self, path: Path) -> str:
        """A path as the box's user knows it."""
        return f"/{path.relative_to(self.root)}" if path.is_relative_to(self.root) else str(path)

    @property
    def groups(self) -> tuple[Path, Path]:
        """Where control groups are mounted, and the file that names this process's."""
        return self.root / "sys/fs/cgroup", self.root / "proc/self/cgroup"

    @property
    def quota(self) -> float | None:
        """Processors that the control groups grant, None for no limit."""
        return cgroup_quota(*self.groups)

    @property
    def host_cpus(self) -> int:
        """Processors of the box, offline ones included."""
        return len(listed(self.text("sys/devices/system/cpu/present"))) or self.cpus

    @property
    def contained(self) -> bool:
        """Whether this is a container: the host's settings are then changed on the host."""
        if (self.root / ".dockerenv").exists() or (self.root / "run/.containerenv").exists():
            return True
        groups = self.text("proc/self/cgroup") or ""
        return any(word in groups for word in ("docker", "kubepods", "containerd", "libpod"))


def whole(text: str | None) -> int | None:
    """A whole number, None for anything else."""
    try:
        return int(text or "")
    except ValueError:
        return None
