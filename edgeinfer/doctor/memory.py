"""Memory: what is left, what the control groups grant, and where it is swapped to."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok, warn
from edgeinfer.machine import memory_limit

_MIB = 1 << 20
# ONNX Runtime, OpenCV and a model of YOLOv8n's class take about 250 MiB.
_LITTLE = 400 * _MIB
_SWAPPED_SHARE = 0.5


def check(box: Box) -> Iterator[Finding]:
    """Room for a model, and swap that frames would wait for."""
    info = _meminfo(box)
    total, left = info.get("MemTotal", 0), info.get("MemAvailable", 0)
    limit = memory_limit(*box.groups)
    granted = min(total, limit) if limit is not None else total
    if not total:
        yield ok("memory", "this box does not tell")
        return
    detail = f"{left / _MIB:.0f} MiB available of {total / _MIB:.0f} MiB"
    if limit is not None and limit < total:
        detail += f"; the control group grants {limit / _MIB:.0f} MiB"
    if min(left, granted) < _LITTLE:
        yield warn(
            "memory",
            f"{detail}: a model may not fit",
            "end other programs, stop the desktop (sudo systemctl set-default multi-user.target), "
            "or raise the container's limit",
        )
    else:
        yield ok("memory", detail)
    yield from _swap(box, info)


def _swap(box: Box, info: dict[str, int]) -> Iterator[Finding]:
    size, left = info.get("SwapTotal", 0), info.get("SwapFree", 0)
    disks = [
        line.split()[0]
        for line in (box.text("proc/swaps") or "").splitlines()[1:]
        if line.strip() and "/zram" not in line
    ]
    if not size:
        return
    where = ", ".join(disks) or "compressed memory (zram)"
    if disks and size - left > _SWAPPED_SHARE * size:
        yield warn(
            "swap",
            f"{(size - left) / _MIB:.0f} of {size / _MIB:.0f} MiB of {where} are in use: frames "
            f"wait for the disk",
            "end other programs or use a smaller model; sudo swapoff -a && sudo swapon -a brings "
            "back what is out",
        )
    else:
        yield ok("swap", f"{(size - left) / _MIB:.0f} of {size / _MIB:.0f} MiB used, {where}")


def shared(box: Box) -> Iterator[Finding]:
    """Frames of videos lie in anonymous shared memory (memfd): /dev/shm's size does not matter."""
    try:
        os.close(os.memfd_create("edgeinfer-doctor"))
    except (AttributeError, OSError) as error:
        yield fail(
            "shared memory",
            f"memfd_create is refused ({error}): videos cannot be decoded",
            "Linux 3.17 or newer with a sandbox that allows memfd_create (docker's own profile "
            "does)",
        )
    else:
        yield ok("shared memory", "memfd works; the size of /dev/shm does not matter")


def _meminfo(box: Box) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in (box.text("proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        number = value.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0]) * 1024
    return found
