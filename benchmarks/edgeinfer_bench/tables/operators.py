"""Which operators take the time, and how much of the box they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.tables.table import UNSTATED, Table, decimals, ms, share

_MOST = 12


def top_operators(result: BenchResult, most: int = _MOST) -> Table:
    """One row per operator, the slowest first."""
    found = result.operators or {}
    lines = list(found.get("top") or ())[:most]
    digits = decimals(line["mean_ns"] for line in lines)
    peak = _peak(result)
    rows = tuple(
        (
            str(line["name"]),
            str(line["op_type"]),
            _shape(line.get("shape")),
            str(line["provider"]),
            ms(line["mean_ns"], digits),
            share(line["share"], 1),
            *_speed(line, peak),
        )
        for line in lines
    )
    header = ("operator", "type", "shape", "on", "mean ms", "share", "GFLOP/s", "of peak")
    return Table(header, rows, 4)


def operator_types(result: BenchResult) -> Table:
    """One row per type of operator and provider; what all of them take is in the notes."""
    found = result.operators or {}
    lines = list(found.get("by_type") or ())
    digits = decimals(line["mean_ns"] for line in lines[:8])
    peak = _peak(result)
    rows = tuple(
        (
            str(line["op_type"]),
            str(line["provider"]),
            f"{line['count']:,}",
            ms(line["mean_ns"], digits),
            share(line["share"], 1),
            *_speed(line, peak),
        )
        for line in lines
    )
    header = ("type", "on", "nodes", "mean ms", "share", "GFLOP/s", "of peak")
    return Table(header, rows, 2, _notes(result))


def _notes(result: BenchResult) -> tuple[str, ...]:
    found = result.operators
    if found is None:
        return ()
    notes = []
    if found.get("reason"):
        notes.append(str(found["reason"]))
    kernels, frame = found.get("kernel_ns"), found.get("frame_ns")
    if kernels and frame:
        notes.append(
            f"Operators took {ms(kernels, decimals([kernels]))} of the "
            f"{ms(frame, decimals([frame]))} ms of a run, over {found.get('runs')} runs that were "
            f"profiled apart from those measured."
        )
    if found.get("gflop") and found.get("gflops"):
        text = f"{found['gflop']:.3g} GFLOP a frame at {found['gflops']:,.0f} GFLOP/s"
        precision, peak = _peak_of(result)
        if peak:
            part = found.get("share_of_peak")
            part = found["gflops"] / peak if part is None else part
            text += f", {share(part, 1)} of the {peak:,.0f} that this box reached in {precision}"
        notes.append(text + ".")
    return tuple(notes)


def _peak_of(result: BenchResult) -> tuple[str, float | None]:
    """The peak at the precision that was computed in, else at fp32."""
    peaks: Mapping[str, Any] = (result.operators or {}).get("peak_gflops") or {}
    precision = str(result.about.get("compute_precision"))
    name = precision if peaks.get(precision) else "fp32"
    return name, peaks.get(name)


def _peak(result: BenchResult) -> float | None:
    return _peak_of(result)[1]


def _speed(line: Mapping[str, Any], peak: float | None) -> tuple[str, str]:
    gflops = line.get("gflops")
    if not gflops:
        return UNSTATED, UNSTATED
    return f"{gflops:,.1f}", share(gflops, peak) if peak else UNSTATED


def _shape(shape: Any) -> str:
    if not shape:
        return UNSTATED
    return shape if isinstance(shape, str) else "×".join(map(str, shape))
