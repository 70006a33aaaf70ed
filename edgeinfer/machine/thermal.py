"""How hot the box is, and what slows it down for that.

Sources: https://docs.kernel.org/driver-api/thermal/sysfs-api.html,
https://docs.kernel.org/hwmon/coretemp.html, https://docs.kernel.org/hwmon/k10temp.html.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from edgeinfer.machine.reading import read, read_int

# Names of thermal zones: x86_pkg_temp, cpu-thermal, CPU-therm, soc0-thermal, tj-thermal,
# bigcore0-thermal, cluster1_thermal. What ACPI calls acpitz may lie anywhere on the board.
_PROCESSOR_ZONE = re.compile(r"cpu|soc|pkg|package|core|cluster|^tj", re.IGNORECASE)
_GPU_ZONE = re.compile(r"gpu", re.IGNORECASE)
_PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
# One sensor speaks for a package; reading each core's would wake all of them.
_PACKAGE_LABEL = re.compile(r"package|physical|tdie", re.IGNORECASE)
# Names of cooling devices that take speed: Processor, cpufreq-cpu0, thermal-cpufreq-0,
# thermal-idle-0, devfreq-gpu, cpu-throttle-alert, intel_powerclamp. Fans do not.
_SLOWS = re.compile(r"cpufreq|devfreq|processor|throttle|powerclamp|idle", re.IGNORECASE)
# A sensor whose part of the chip is switched off tells nonsense (Jetson: -256).
_BELIEVED_MC = range(-40_000, 150_001)
_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_PI_BITS = {
    0x1: "firmware: under-voltage",
    0x2: "firmware: clock capped",
    0x4: "firmware: throttled",
    0x8: "firmware: soft temperature limit",
}


def processor_celsius(root: Path = Path("/")) -> float | None:
    """The hottest sensor of the processor or of the chip that it is on, in degrees Celsius.

    Args:
        root: where ``sys`` is.
    """
    return _hottest(_processor_files(root))


def gpu_celsius(root: Path = Path("/")) -> float | None:
    """The hottest thermal zone of a GPU, in degrees Celsius; graphics cards have none."""
    return _hottest(_zone_files(root, _GPU_ZONE))


def slowed_by(root: Path = Path("/")) -> tuple[str, ...] | None:
    """What takes speed off processor or GPU now, by the kernel's names; None: nobody tells."""
    devices = _cooling(root)
    firmware = read(root / _PI_THROTTLED)
    if not devices and firmware is None:
        return None
    # intel_powerclamp says -1 while it rests.
    found = [name for name, file in devices if (read_int(file) or 0) > 0]
    bits = int(firmware, 16) if firmware and re.fullmatch(r"(0x)?[0-9a-f]+", firmware) else 0
    found += [words for bit, words in _PI_BITS.items() if bits & bit]
    return tuple(dict.fromkeys(found))


def overcurrent_events(root: Path = Path("/")) -> int | None:
    """Times that a Jetson Orin was slowed down because it drew too much current.

    Source: "Over-Current (OC) Event and OC Event Throttling" of NVIDIA's "Jetson Linux Developer
    Guide": counters of the hwmon device soctherm_oc.
    """
    found = [value for value in map(read_int, _overcurrent_files(root)) if value is not None]
    return sum(found) if found else None


def _hottest(files: tuple[Path, ...]) -> float | None:
    found = [value for value in map(read_int, files) if value in _BELIEVED_MC]
    return max((value / 1000 for value in found if value is not None), default=None)


# Sensors stay where they are while a process runs: all are looked for once.


@functools.cache
def _zone_files(root: Path, names: re.Pattern[str]) -> tuple[Path, ...]:
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    return tuple(zone / "temp" for zone in zones if names.search(read(zone / "type") or ""))


@functools.cache
def _processor_files(root: Path) -> tuple[Path, ...]:
    graphics = _zone_files(root, _GPU_ZONE)
    found = [file for file in _zone_files(root, _PROCESSOR_ZONE) if file not in graphics]
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read(folder / "name") not in _PROCESSOR_SENSORS:
            continue
        labels = sorted(folder.glob("temp*_label"))
        named = [label for label in labels if _PACKAGE_LABEL.search(read(label) or "")]
        inputs = [label.with_name(label.name.replace("_label", "_input")) for label in named]
        found += inputs or [folder / "temp1_input"]
    return tuple(found)


@functools.cache
def _cooling(root: Path) -> tuple[tuple[str, Path], ...]:
    found = []
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        name = read(device / "type") or ""
        if _SLOWS.search(name):
            found.append((name, device / "cur_state"))
    return tuple(found)


@functools.cache
def _overcurrent_files(root: Path) -> tuple[Path, ...]:
    return tuple(
        file
        for folder in sorted((root / "sys/class/hwmon").glob("hwmon*"))
        if read(folder / "name") == "soctherm_oc"
        for file in sorted(folder.glob("oc*_event_cnt"))
    )
