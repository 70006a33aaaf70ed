"""Jetson: release, JetPack, power mode and clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, ok, warn
from edgeinfer.machine import l4t_release, power_modes, read_int

# The oldest Jetson Linux whose Python (3.10) is new enough: JetPack 6.
_OLDEST_L4T = 36


def check(box: Box) -> Iterator[Finding]:
    """Nothing on any other box."""
    release = l4t_release(box.root)
    if release is None:
        return
    packaged = re.search(
        r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)",
        box.text("var/lib/dpkg/status", 1 << 26) or "",
        re.MULTILINE,
    )
    jetpack = f"JetPack {packaged[1]}" if packaged else "JetPack's packages are not all installed"
    if int(release.partition(".")[0]) < _OLDEST_L4T:
        yield warn(
            "jetpack",
            f"Jetson Linux {release}, {jetpack}: its Python is older than 3.10",
            "flash JetPack 6 or newer where the board takes it; else a container with Python 3.10",
        )
    elif packaged is None:
        yield ok("jetpack", f"Jetson Linux {release}; {jetpack} (sudo apt install nvidia-jetpack)")
    else:
        yield ok("jetpack", f"Jetson Linux {release}, {jetpack}")
    yield from _power(box)


def _power(box: Box) -> Iterator[Finding]:
    modes = power_modes(box.root)
    if modes is None or modes.current is None:
        return
    fastest = next(
        (number for number, name in modes.names.items() if name.upper().startswith("MAXN")), None
    )
    others = ", ".join(name for number, name in modes.names.items() if number != modes.current)
    if fastest is not None and not (modes.name or "").upper().startswith("MAXN"):
        yield warn(
            "power mode",
            f"{modes.name}, not the fastest (there are {others})",
            f"sudo nvpmodel -m {fastest} for {modes.names[fastest]}, if supply and cooling allow; "
            f"measure again with edgeinfer tune after it",
        )
    else:
        yield ok("power mode", f"{modes.name}" + (f" (others: {others})" if others else ""))
    policies = box.glob("sys/devices/system/cpu/cpufreq/policy*")
    pinned = policies and all(
        read_int(policy / "scaling_min_freq") == read_int(policy / "scaling_max_freq")
        for policy in policies
    )
    if pinned:
        yield ok("clocks", "pinned to the highest of the power mode (jetson_clocks)")
    elif policies:
        yield ok("clocks", "follow the load; sudo jetson_clocks pins them, for steady latency")
