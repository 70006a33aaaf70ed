"""Huge pages for the memory of a model, so that a run misses fewer address translations.

Weights and activations lie in pages of 4 KiB unless the program that allocates them asks for more,
and ONNX Runtime does not: a run then walks the page tables thousands of times, twice as far in a
virtual machine. In one, on an Intel Xeon, a MobileNetV2-like FP32 ran 2% faster once they were
joined and a YOLOv8n-like 0.5 to 1%, in as much memory: `python -m edgeinfer_bench.goals --only
pages` measures it.

Source: madvise(2) (MADV_COLLAPSE, Linux 6.1), proc_pid_maps(5), and Linux's
Documentation/admin-guide/mm/{transhuge,pagemap}.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

from edgeinfer.machine.reading import read, read_int

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_MAPS = Path("/proc/self/maps")
_PAGEMAP = Path("/proc/self/pagemap")
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
_PRESENT = 1 << 63
# A huge page is there in full: a stretch with holes costs the memory of the holes.
_DENSE = 0.9
_BUDGET_NS = 100_000_000

Span = tuple[int, int]


class Growth:
    """The memory that this process takes from now on."""

    def __init__(self) -> None:
        # Read now and understood later: opening a small model takes a millisecond.
        self._before = _maps()

    def join(self, clock: Callable[[], int] = monotonic_ns) -> int:
        """Put what came since into huge pages where the box allows it; nothing else changes.

        Only private memory whose huge page is filled for nine tenths at least, the largest
        stretches first, for a tenth of a second; the kernel is asked to do the rest by and by, and
        all of it where it is older than Linux 6.1.

        Args:
            clock: monotonic nanoseconds.

        Returns:
            Bytes that lie in huge pages now.
        """
        size = _huge_page_bytes()
        advise = _madvise() if size else None
        if advise is None:
            return 0
        until = clock() + _BUDGET_NS
        joined = 0
        for start in _dense(_grown(self._before, _maps()), size):
            if clock() < until and advise(start, size, _MADV_COLLAPSE) == 0:
                joined += size
            else:
                advise(start, size, _MADV_HUGEPAGE)
        return joined


def _huge_page_bytes() -> int:
    """The size of a huge page; 0 where there are none, or the owner of the box wants none."""
    if "[never]" in (read(_SETTINGS / "enabled") or "[never]"):
        return 0
    return read_int(_SETTINGS / "hpage_pmd_size") or 0


def _madvise() -> Callable[[int, int, int], int] | None:
    import ctypes

    call: Any = getattr(ctypes.CDLL(None), "madvise", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    call.restype = ctypes.c_int
    advise: Callable[[int, int, int], int] = call
    return advise


def _maps() -> str:
    # The kernel gives a page at a time, so it takes many reads.
    try:
        return _MAPS.read_text(errors="replace")
    except OSError:
        return ""


def _private(maps: str) -> list[Span]:
    """Where private memory that can be written and belongs to no file lies, in rising order."""
    spans = []
    for line in maps.splitlines():
        where, access, _, _, inode, *name = line.split(maxsplit=5)
        ours = not name or name[0].startswith(("[heap", "[anon"))
        if ours and access == "rw-p" and inode == "0":
            start, end = where.split("-")
            spans.append((int(start, 16), int(end, 16)))
    return spans


def _grown(before: str, after: str) -> list[Span]:
    """What is private memory now and was not before, the largest first."""
    old = _private(before)
    grown = []
    for start, end in _private(after):
        for old_start, old_end in old:
            if old_end <= start or old_start >= end:
                continue
            if old_start > start:
                grown.append((start, old_start))
            start = old_end
        if start < end:
            grown.append((start, end))
    return sorted(grown, key=lambda span: span[0] - span[1])


def _dense(spans: list[Span], size: int) -> Iterator[int]:
    """The addresses of the huge pages within these spans whose small pages are mostly there."""
    import resource
    from array import array

    page = resource.getpagesize()
    count = size // page
    try:
        file = open(_PAGEMAP, "rb", buffering=0)  # noqa: SIM115
    except OSError:
        return
    with file:
        for start, end in spans:
            for address in range(-(-start // size) * size, end - size + 1, size):
                file.seek(address // page * 8)
                entries = array("Q", file.read(count * 8))
                if sum(entry >= _PRESENT for entry in entries) >= _DENSE * count:
                    yield address
