"""What the box has used, where it tells: RAPL, NVML (see `gpu`), the power rails of a Jetson.

Sources: https://docs.kernel.org/power/powercap/powercap.html,
https://docs.kernel.org/hwmon/ina3221.html, and for the rails of the boards NVIDIA's "Jetson Linux
Developer Guide", Platform Power and Performance.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from edgeinfer.machine.reading import read, read_int

_ROOT = Path("/sys/class/powercap")
# Rails that feed all others of their board; any other rail is a part of it.
_WHOLE = ("VDD_IN", "POM_5V_IN")
# A part of a rail that is counted, too.
_PART_OF = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}
# Periods of which less was metered have no energy: what was not seen may have been otherwise.
_LEAST_METERED = 0.9


def energy_nj(root: Path = _ROOT) -> int | None:
    """Nanojoules used by all packages since some moment, None where that cannot be read."""
    counters = [read_int(zone / "energy_uj") for zone in _packages(root)]
    found = [value for value in counters if value is not None]
    return sum(found) * 1000 if found and len(found) == len(counters) else None


def energy_range_nj(root: Path = _ROOT) -> int | None:
    """Nanojoules after which each package's counter begins anew; None where they differ."""
    ranges = {_range_uj(zone) for zone in _packages(root)}
    (only,) = ranges if len(ranges) == 1 else (None,)
    return None if not only else only * 1000


def _packages(root: Path) -> list[Path]:
    return [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]


@functools.cache
def _range_uj(zone: Path) -> int | None:
    return read_int(zone / "max_energy_range_uj")


def power_mw(root: Path = Path("/")) -> tuple[str, float] | None:
    """What a Jetson's board draws now: the rails that were added up, and milliwatts.

    Args:
        root: where ``sys`` is.
    """
    rails = _rails(root)
    if not rails:
        return None
    total = 0.0
    for _, files in rails:
        values = [read_int(file) for file in files]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        # One file tells milliwatts, two millivolts and milliamperes.
        total += known[0] if len(known) == 1 else known[0] * known[1] / 1000
    return "+".join(name for name, _ in rails), total


@functools.cache
def _rails(root: Path) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    """The rails to add up, and the files that tell; looked for once per process."""
    found: dict[str, tuple[Path, ...]] = {}
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read(folder / "name") != "ina3221":
            continue
        # Channel 7 is the sum of the shunts' voltages.
        for n in (1, 2, 3):
            label = read(folder / f"in{n}_label")
            if label:
                found[label] = (folder / f"in{n}_input", folder / f"curr{n}_input")
    # Releases of Jetson Linux before 35.
    for name in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_*")):
        label = read(name)
        if label:
            found[label] = (name.with_name(f"in_power{name.name[-1]}_input"),)
    for whole in _WHOLE:
        if whole in found:
            return ((whole, found[whole]),)
    return tuple(
        (label, files)
        for label, files in found.items()
        if label != "NC" and _PART_OF.get(label) not in found
    )


class Periods:
    """Moments in which something was measured; those that overlap are one.

    Args:
        periods: when each began and ended, in nanoseconds of one clock.
    """

    def __init__(self, periods: Iterable[tuple[int, int]]) -> None:
        self.merged: list[tuple[int, int]] = []
        for began, ended in sorted(periods):
            if self.merged and began <= self.merged[-1][1]:
                began, ended = self.merged[-1][0], max(self.merged.pop()[1], ended)
            if ended > began:
                self.merged.append((began, ended))
        self._starts = [began for began, _ in self.merged]
        lengths = (ended - began for began, ended in self.merged)
        self._before = list(itertools.accumulate(lengths, initial=0))

    @property
    def total_ns(self) -> int:
        """How long they are together."""
        return self._before[-1]

    def inside_ns(self, began: int, ended: int) -> int:
        """How much of a span of time lies inside them."""
        return self._until(ended) - self._until(began)

    def holds(self, at: int) -> bool:
        """Whether a moment lies inside one of them, its ends included."""
        index = bisect.bisect_right(self._starts, at)
        return index > 0 and at <= self.merged[index - 1][1]

    def _until(self, at: int) -> int:
        index = bisect.bisect_right(self._starts, at)
        if index == 0:
            return 0
        began, ended = self.merged[index - 1]
        return self._before[index - 1] + min(at, ended) - began


class Metered(Protocol):
    """A state of the box that tells what was used.

    Attributes:
        energy_nj: counter in nanojoules.
        energy_range_nj: where a part of it begins anew; None: it never does.
        energy_source: who told.
    """

    @property
    def energy_nj(self) -> int | None: ...
    @property
    def energy_range_nj(self) -> int | None: ...
    @property
    def energy_source(self) -> str | None: ...


def energy_between(
    samples: Sequence[tuple[int, Metered]], periods: Iterable[tuple[int, int]]
) -> tuple[str, float] | None:
    """Joules that the box used inside periods, its idle draw included.

    Between two samples the draw is taken as even.

    Args:
        samples: time in nanoseconds, in order, and state.
        periods: when each began and ended, by the same clock.

    Returns:
        Who told, and joules; None where nobody tells for nine tenths of that time.
    """
    wanted = Periods(periods)
    metered_ns, total_nj, sources = 0, 0.0, dict[str, None]()
    for (began, before), (ended, after) in itertools.pairwise(samples):
        inside_ns = wanted.inside_ns(began, ended)
        used = _used_nj(before, after)
        if not inside_ns or used is None:
            continue
        metered_ns += inside_ns
        total_nj += used * inside_ns / (ended - began)
        sources[str(after.energy_source)] = None
    if not metered_ns or metered_ns < _LEAST_METERED * wanted.total_ns or len(sources) > 1:
        return None
    return next(iter(sources)), total_nj * (wanted.total_ns / metered_ns) / 1e9


def _used_nj(before: Metered, after: Metered) -> int | None:
    if before.energy_nj is None or after.energy_nj is None:
        return None
    if before.energy_source != after.energy_source:
        return None
    used = after.energy_nj - before.energy_nj
    if used >= 0:
        return used
    # Each package's counter begins anew by itself: the sum then lost whole ranges.
    return used % after.energy_range_nj if after.energy_range_nj else None
