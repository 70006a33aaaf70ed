"""Control groups: which of them hold this process, and what they grant it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgeinfer.machine.reading import read

_MOUNT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")
# Version 1 says "no limit" by the largest multiple of a page (cgroup-v1/memory.rst).
_NO_LIMIT = 1 << 60


@functools.cache
def group_folders(
    controller: str, mount: Path = _MOUNT, self_file: Path = _SELF
) -> tuple[Path, ...]:
    """The folders of this process's group and of every group above it, each once.

    Looked for once per process: groups keep their names, only what they grant changes.

    Versions 1 and 2 and their mixtures are followed through /proc/self/cgroup and, where a mount
    shows only a part of the tree (containers), /proc/self/mountinfo: see cgroups(7).

    Args:
        controller: ``cpu`` or ``memory``.
        mount: where control groups are mounted.
        self_file: ``/proc/self/cgroup``; ``mountinfo`` is looked for beside it.
    """
    mounts = list(_mounts(controller, mount, self_file.with_name("mountinfo")))
    found = [mount, mount / controller]
    for line in (read(self_file) or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, inside = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        second = controllers == ""
        tops = [(folder, top) for is_second, folder, top in mounts if is_second == second]
        if not tops:
            tops = [(mount / controllers, PurePosixPath("/"))]
        for folder, top in tops:
            parts = _below(PurePosixPath(inside), top).parts
            found += [folder.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    once = {os.path.realpath(folder): folder for folder in found}
    return tuple(once.values())


def _mounts(
    controller: str, mount: Path, mountinfo: Path
) -> Iterator[tuple[bool, Path, PurePosixPath]]:
    """Of each mounted tree that may hold the controller: whether it is version 2, where, its top.

    See proc_pid_mountinfo(5): fields 4 and 5 are the top and the mount point; after " - " come the
    type and, last, the options, among them version 1's controllers.
    """
    for line in (read(mountinfo, 1 << 20) or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if kind[0] == "cgroup" and controller not in kind[-1].split(","):
            continue
        point = PurePosixPath(fields[4])
        if point.is_relative_to("/sys/fs/cgroup"):
            folder = mount / point.relative_to("/sys/fs/cgroup")
        else:
            folder = Path(point)
        yield kind[0] == "cgroup2", folder, PurePosixPath(fields[3])


def _below(inside: PurePosixPath, top: PurePosixPath) -> PurePosixPath:
    """The group's path under a mount that shows the tree from `top` on."""
    path = inside.relative_to(top) if inside.is_relative_to(top) else inside
    return PurePosixPath(*(part for part in path.parts if part not in ("/", "..")))


@functools.cache
def _limited(root: Path, self_file: Path) -> tuple[tuple[bool, str], ...]:
    """The groups that may limit processors: whether by version 2, and the folder.

    Looked for once per process, as text: every opening of a model asks what they grant.
    """
    found = []
    for folder in group_folders("cpu", root, self_file):
        if (folder / "cpu.max").exists():
            found.append((True, str(folder)))
        elif (folder / "cpu.cfs_quota_us").exists():
            found.append((False, str(folder)))
    return tuple(found)


def cgroup_quota(root: Path = _MOUNT, self_file: Path = _SELF) -> float | None:
    """Processors that the control groups grant, or None where they set no limit.

    Every ancestor's limit counts (v2 ``cpu.max``; v1 ``cpu.cfs_quota_us``), see
    https://docs.kernel.org/admin-guide/cgroup-v2.html.
    """
    found: list[float] = []
    for is_v2, folder in _limited(root, self_file):
        if is_v2:
            quota, _, period = (read(f"{folder}/cpu.max") or "").partition(" ")
        else:
            quota = read(f"{folder}/cpu.cfs_quota_us") or ""
            period = (read(f"{folder}/cpu.cfs_period_us") or "") if quota.isdigit() else ""
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def memory_limit(root: Path = _MOUNT, self_file: Path = _SELF) -> int | None:
    """Bytes that the control groups grant, or None where they set no limit (v2, v1)."""
    found: list[int] = []
    for folder in group_folders("memory", root, self_file):
        text = read(folder / "memory.max") or read(folder / "memory.limit_in_bytes") or ""
        if text.isdigit() and int(text) < _NO_LIMIT:
            found.append(int(text))
    return min(found, default=None)


def cpu_stat(root: Path = _MOUNT, self_file: Path = _SELF) -> dict[str, int] | None:
    """What the quota did to this group and those above it, summed; None where nobody counts.

    Returns:
        ``nr_periods``, ``nr_throttled`` and ``throttled_us`` (microseconds that threads were
        kept waiting) since the groups exist.
    """
    total: dict[str, int] = {}
    for folder in group_folders("cpu", root, self_file):
        lines = (read(folder / "cpu.stat") or "").splitlines()
        pairs = (line.split() for line in lines)
        stat = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
        if "nr_throttled" not in stat:
            continue
        waited = stat.get("throttled_usec", stat.get("throttled_time", 0) // 1000)
        for name, value in (
            ("nr_periods", stat.get("nr_periods", 0)),
            ("nr_throttled", stat["nr_throttled"]),
            ("throttled_us", waited),
        ):
            total[name] = total.get(name, 0) + value
    return total or None
