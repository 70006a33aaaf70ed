"""Device files that are there and that this user may not open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, ok, warn

_PATTERNS = (
    "dev/video[0-9]*",
    "dev/dri/renderD*",
    "dev/nvidia[0-9]*",
    "dev/nvidiactl",
    "dev/nvidia-uvm",
    "dev/nvhost-gpu",
    "dev/nvmap",
    "dev/accel/accel*",
    "dev/hailo[0-9]*",
    "dev/apex_[0-9]*",
    "dev/fastrpc-cdsp*",
    "dev/kfd",
)


def check(box: Box) -> Iterator[Finding]:
    """Cameras, GPUs and NPUs by the group that owns them."""
    nodes = [path for pattern in _PATTERNS for path in box.glob(pattern)]
    closed: dict[str, list[str]] = {}
    for path in nodes:
        if not box.may_use(path):
            closed.setdefault(_group(box, path), []).append(box.shown(path))
    for group, names in closed.items():
        if group == "root":
            remedy = (
                "a udev rule gives them a group: "
                'KERNEL=="...", GROUP="video", MODE="0660" in /etc/udev/rules.d'
            )
        else:
            remedy = f"sudo usermod -aG {group} $USER, then log in again"
        if box.contained:
            remedy = f"start the container with --device {names[0]} --group-add {group}"
        yield warn("devices", f"this user may not open {', '.join(names)}", remedy)
    if not closed:
        names = [box.shown(path) for path in nodes]
        yield ok("devices", f"may be opened: {', '.join(names)}" if names else "none of note")


def _group(box: Box, path: Path) -> str:
    """The name of the group that owns a file, by the box's own /etc/group."""
    number = str(path.stat().st_gid)
    for line in (box.text("etc/group") or "").splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2] == number:
            return fields[0]
    return number
