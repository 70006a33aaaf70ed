"""What the GPUs of the box do: by NVML, by devfreq where they share the processor's chip.

Sources: https://docs.nvidia.com/deploy/nvml-api/ (device queries, clocks event reasons),
https://docs.kernel.org/driver-api/devfreq.html.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeinfer.errors import MissingPackageError
from edgeinfer.machine.board import nvidia_driver
from edgeinfer.machine.reading import read, read_int
from edgeinfer.machine.thermal import gpu_celsius
from edgeinfer.packages import need
from edgeinfer.records import dataclass

# nvmlClocksEventReasons. Left out: an idle GPU, and clocks that somebody set.
_SLOWED = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
# 17000000.gpu, 17000000.ga10b, 17000000.gv11b, 57000000.gpu, gpu-gpc-0; Mali: fb000000.gpu.
_DEVFREQ = re.compile(r"gpu|\bg[avpm]\d\db\b", re.IGNORECASE)


@dataclass(frozen=True)
class GpuState:
    """Of all GPUs together; None where nobody tells.

    Attributes:
        mhz: the fastest one's clock.
        celsius: the hottest one's temperature.
        throttle: what takes speed off one of them, by NVML's names; empty: nothing.
        energy_nj: nanojoules that they used since some moment.
        untold: why an NVIDIA GPU that is there tells nothing.
    """

    mhz: float | None = None
    celsius: float | None = None
    throttle: tuple[str, ...] | None = None
    energy_nj: int | None = None
    untold: str | None = None


def gpu_state(root: Path = Path("/")) -> GpuState:
    """Look at the GPUs.

    Args:
        root: where ``proc`` and ``sys`` are; NVML is asked where a driver is loaded there.
    """
    told = _by_nvml() if nvidia_driver(root) is not None else GpuState()
    mhz = _devfreq_mhz(root) if told.mhz is None else told.mhz
    return GpuState(
        mhz=mhz,
        celsius=gpu_celsius(root) if told.celsius is None else told.celsius,
        throttle=told.throttle,
        energy_nj=told.energy_nj,
        untold=told.untold if mhz is None else None,
    )


def _by_nvml() -> GpuState:
    try:
        nvml = need("pynvml")
    except MissingPackageError:
        return GpuState(untold="the package nvidia-ml-py is missing (pip install nvidia-ml-py)")
    devices = _devices(nvml)
    if isinstance(devices, str):
        return GpuState(untold=f"NVML does not open ({devices})")
    clocks = _all(nvml, devices, "nvmlDeviceGetClockInfo", "NVML_CLOCK_SM")
    heat = _all(nvml, devices, "nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU")
    # Named anew by driver 535.
    reasons = _all(nvml, devices, "nvmlDeviceGetCurrentClocksEventReasons") or _all(
        nvml, devices, "nvmlDeviceGetCurrentClocksThrottleReasons"
    )
    bits = functools.reduce(int.__or__, reasons, 0)
    used_mj = _all(nvml, devices, "nvmlDeviceGetTotalEnergyConsumption")
    return GpuState(
        mhz=max(map(float, clocks), default=None),
        celsius=max(map(float, heat), default=None),
        throttle=tuple(words for bit, words in _SLOWED.items() if bits & bit) if reasons else None,
        energy_nj=sum(used_mj) * 1_000_000 if len(used_mj) == len(devices) > 0 else None,
    )


@functools.cache
def _devices(nvml: ModuleType) -> tuple[Any, ...] | str:
    """All GPUs, or why there are none; NVML stays open until the process ends."""
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        return tuple(nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count))
    except nvml.NVMLError as error:
        return str(error)


def _all(nvml: ModuleType, devices: tuple[Any, ...], name: str, *constants: str) -> list[int]:
    """The answers of those that give one: older drivers and small GPUs refuse some questions."""
    ask = getattr(nvml, name, None)
    if ask is None:
        return []
    arguments = [getattr(nvml, constant) for constant in constants]
    found = []
    for device in devices:
        try:
            found.append(int(ask(device, *arguments)))
        except nvml.NVMLError:  # noqa: PERF203 - each may refuse by itself
            continue
    return found


def _devfreq_mhz(root: Path) -> float | None:
    found = [value for value in map(read_int, _devfreq_files(root)) if value is not None]
    return max(found) / 1e6 if found else None


@functools.cache
def _devfreq_files(root: Path) -> tuple[Path, ...]:
    return tuple(
        device / "cur_freq"
        for device in sorted((root / "sys/class/devfreq").glob("*"))
        if _DEVFREQ.search(f"{device.name} {read(device / 'device/of_node/name') or ''}")
    )
