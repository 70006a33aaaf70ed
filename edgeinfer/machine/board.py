"""Boards and drivers: a Jetson's release and power mode, NVIDIA's kernel module."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer.machine.reading import read
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class PowerModes:
    """A Jetson's power modes by number, and which of them is set (None where that is not told)."""

    names: dict[int, str]
    current: int | None

    @property
    def name(self) -> str | None:
        """The name of the mode that is set."""
        return None if self.current is None else self.names.get(self.current, str(self.current))


def board_model(root: Path) -> str | None:
    """What the device tree calls the board: ``Raspberry Pi 5 Model B Rev 1.0``."""
    return read(root / "proc/device-tree/model") or None


def l4t_release(root: Path) -> str | None:
    """The release of Jetson Linux: ``36.4.3``; None on any other box."""
    text = read(root / "etc/nv_tegra_release") or ""
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return None if found is None else f"{found[1]}.{found[2]}"


def power_modes(root: Path) -> PowerModes | None:
    """A Jetson's power modes, read from the files that `nvpmodel` itself keeps; else None."""
    text = read(root / "etc/nvpmodel.conf")
    if text is None:
        return None
    modes = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", text)
    status = re.search(r"pmode:(\d+)", read(root / "var/lib/nvpmodel/status") or "")
    default = re.search(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)", text)
    current = status or default
    return PowerModes(
        {int(number): name for number, name in modes}, None if current is None else int(current[1])
    )


def nvidia_driver(root: Path) -> str | None:
    """The version of NVIDIA's loaded kernel module: ``580.65.06``; None where none is loaded."""
    version = read(root / "sys/module/nvidia/version")
    if version is not None:
        return version
    text = read(root / "proc/driver/nvidia/version") or ""
    found = re.search(r"Kernel Module\S*\s+(?:for \S+\s+)?(\d+\.[\d.]+)", text)
    return None if found is None else found[1]
