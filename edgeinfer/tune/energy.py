"""What the processor's packages have used, where the box tells: the RAPL counters of Linux.

Source: https://docs.kernel.org/power/powercap/powercap.html.
"""

from __future__ import annotations

from pathlib import Path

from edgeinfer.machine import read_int

_ROOT = Path("/sys/class/powercap")


def energy_nj(root: Path = _ROOT) -> int | None:
    """Nanojoules used by all packages since some moment, None where that cannot be read."""
    counters = [
        read_int(zone / "energy_uj")
        for zone in sorted(root.glob("intel-rapl:*"))
        if zone.name.count(":") == 1
    ]
    found = [value for value in counters if value is not None]
    return sum(found) * 1000 if found and len(found) == len(counters) else None
