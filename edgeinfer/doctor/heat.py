"""Heat and power supply: what slows a box down behind everybody's back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, ok, warn
from edgeinfer.machine import read, read_int

# Within this of a trip point at which the kernel slows down: the next longer run will reach it.
_NEAR_MILLIDEGREES = 5000
_SLOWING = ("passive", "hot", "critical")
_COOLED = ("processor", "cpufreq", "thermal-cpufreq", "devfreq", "thermal-devfreq", "gpu")
# Share of the time since the start that a processor was slowed down for heat.
_SLOWED_SHARE = 0.001
_REMEDY = "cool the box (fan, heat sink, shade, dust), or lower its power mode on purpose"
# Raspberry Pi's firmware, see vcgencmd get_throttled.
_PI_NOW = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
_PI_FILES = "sys/devices/platform/soc*/*firmware/get_throttled"


def temperature(box: Box) -> Iterator[Finding]:
    """Thermal zones against their trip points, and cooling by slowing down that is under way."""
    zones = [zone for path in box.glob("sys/class/thermal/thermal_zone*") if (zone := _zone(path))]
    close = [f"{name} {now / 1e3:.0f} °C of {trip / 1e3:.0f} °C" for name, now, trip in zones
             if trip is not None and now >= trip - _NEAR_MILLIDEGREES]  # fmt: skip
    slowed = [
        kind
        for path in box.glob("sys/class/thermal/cooling_device*")
        if (kind := read(path / "type") or "").lower().startswith(_COOLED)
        and (read_int(path / "cur_state") or 0) > 0
    ]
    if close:
        yield warn("temperature", f"{', '.join(close)}, where the box slows down or stops", _REMEDY)
    if slowed:
        yield warn("temperature", f"slowed down for heat now: {', '.join(slowed)}", _REMEDY)
    if not close and not slowed:
        hottest = max(zones, key=lambda zone: zone[1], default=None)
        told = "this box does not tell (usual for virtual machines)"
        yield ok(
            "temperature",
            told if hottest is None else f"{hottest[0]} {hottest[1] / 1e3:.0f} °C, the hottest",
        )
    yield from _history(box)


def _zone(path: Path) -> tuple[str, int, int | None] | None:
    """Name, temperature and lowest trip point that slows down, in thousandths of a degree."""
    now = read_int(path / "temp")
    if now is None or now <= 0:
        return None
    trips = []
    for kind in path.glob("trip_point_*_type"):
        value = read_int(path / kind.name.replace("_type", "_temp"))
        if read(kind) in _SLOWING and value is not None and value > 0:
            trips.append(value)
    return read(path / "type") or path.name, now, min(trips, default=None)


def _history(box: Box) -> Iterator[Finding]:
    """How long processors were slowed down since the start (x86; thermal_throttle)."""
    folders = box.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
    waited = [read_int(folder / "core_throttle_total_time_ms") or 0 for folder in folders]
    uptime_ms = float((box.text("proc/uptime") or "0").split()[0]) * 1000
    if waited and uptime_ms and max(waited) > _SLOWED_SHARE * uptime_ms:
        yield warn(
            "temperature",
            f"a processor was slowed down for heat for {max(waited) / 1e3:.0f} s of "
            f"{uptime_ms / 3.6e6:.1f} h since the start",
            _REMEDY,
        )


def supply(box: Box) -> Iterator[Finding]:
    """A Raspberry Pi whose supply is too weak is slowed down by its firmware."""
    for path in box.glob(_PI_FILES):
        try:
            bits = int(read(path) or "0", 16)
        except ValueError:
            continue
        now = [text for bit, text in _PI_NOW.items() if bits >> bit & 1]
        before = [text for bit, text in _PI_NOW.items() if bits >> (bit + 16) & 1]
        if now or before:
            when = "now" if now else "since the start"
            yield warn(
                "power supply",
                f"the firmware reports {', '.join(now or before)} ({when})",
                "use the board's own power supply and a short cable; cool the board",
            )
        else:
            yield ok("power supply", "strong enough since the start")
