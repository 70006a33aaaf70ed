"""The clock: whether it is set, and whether reading it is cheap."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, ok, warn

# Nothing here existed before 2025: a clock that says so was never set.
_BEFORE_S = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc).timestamp()
# Reading these takes a call into the kernel and a slow device
# (https://docs.kernel.org/virt/kvm/x86/timekeeping.html).
_SLOW = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def check(box: Box) -> Iterator[Finding]:
    """A date that can be true, and a time source that costs nanoseconds."""
    now = box.now_s()
    date = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    if now < _BEFORE_S:
        yield warn(
            "clock",
            f"it says {date:%Y-%m-%d}: downloads over TLS fail, and times in results are wrong",
            "sudo timedatectl set-ntp true (a network, or a battery for the clock, keeps it)",
        )
    else:
        yield ok("clock", f"{date:%Y-%m-%d %H:%M} UTC")
    source = box.text(_SOURCE)
    if source in _SLOW:
        yield warn(
            "time source",
            f"{source}: every reading of the clock takes about a microsecond and disturbs timing",
            "boot with tsc=reliable if the processor's tsc is constant; in a virtual machine, give "
            "it kvm-clock or tsc",
        )
    elif source:
        yield ok("time source", source)
