"""Which processors the box has, by their names and by what they can do."""

from __future__ import annotations

import platform
from pathlib import Path

from edgeinfer.machine.reading import read

# What decides which kernels a runtime takes: x86-64, then ARM's names for the same.
FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
# "CPU implementer" and "CPU part" of /proc/cpuinfo on ARM, which names no model (MIDR_EL1;
# arch/arm64/include/asm/cputype.h).
_ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x4e", "0x003"): "Denver-2",
    ("0x4e", "0x004"): "Carmel",
}


def processor(root: Path) -> tuple[str, tuple[str, ...]]:
    """Name and features; on ARM the names of all kinds of core that the box has.

    Args:
        root: where ``proc`` is.
    """
    # The first few are enough: every block of a big x86 box says the same.
    text = read(root / "proc/cpuinfo", 32768) or ""
    fields: dict[str, str] = {}
    parts: dict[str, None] = {}
    implementer = ""
    for line in text.splitlines():
        key, _, value = (item.strip() for item in line.partition(":"))
        key = key.lower()
        fields.setdefault(key, value)
        if key == "cpu implementer":
            implementer = value
        elif key == "cpu part":
            parts[_ARM_PARTS.get((implementer, value), f"ARM {implementer}/{value}")] = None
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    name = " + ".join(parts) or fields.get("model name") or platform.machine()
    return name, tuple(feature for feature in FEATURES if feature in flags)


def listed(text: str | None) -> set[int]:
    """The numbers of a kernel's list such as ``0-3,7``; empty for what is no list."""
    numbers: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers
