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
    peaks = _peaks(result)
    rows = tuple(
        (
            str(line["name"]),
            str(line["op_type"]),
            _shape(line.get("shape")),
            str(line["provider"]),
            ms(line["mean_ns"], digits),
            share(line["share"], 1),
            *_speed(line, peaks),
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
    peaks = _peaks(result)
    rows = tuple(
        (
            str(line["op_type"]),
            str(line["provider"]),
            f"{line['count']:,}",
            ms(line["mean_ns"], digits),
            share(line["share"], 1),
            *_speed(line, peaks),
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
        part, kinds = found.get("share_of_peak"), _kinds(found)
        if part is not None and len(kinds) == 1:
            peak = _peaks(result)[kinds[0]]
            text += f", {share(part, 1)} of the {peak:,.0f} that this box reached in {kinds[0]}"
        elif part is not None:
            text += f", {share(part, 1)} of what this box reached in {' and '.join(kinds)}"
        notes.append(text + ".")
    return tuple(notes)


def _peaks(result: BenchResult) -> Mapping[str, float]:
    """GFLOP/s that the box reached, by precision."""
    return (result.operators or {}).get("peak_gflops") or {}


def _kinds(found: Mapping[str, Any]) -> list[str]:
    """The precisions that its operators compute in."""
    told = [line.get("precision") for line in found.get("by_type") or () if line.get("gflop")]
    return [str(kind) for kind in dict.fromkeys(told) if kind in (found.get("peak_gflops") or {})]


def _speed(line: Mapping[str, Any], peaks: Mapping[str, float]) -> tuple[str, str]:
    gflops, peak = line.get("gflops"), peaks.get(str(line.get("precision")))
    if not gflops:
        return UNSTATED, UNSTATED
    return f"{gflops:,.1f}", share(gflops, peak) if peak else UNSTATED


def _shape(shape: Any) -> str:
    if not shape:
        return UNSTATED
    return shape if isinstance(shape, str) else "×".join(map(str, shape))
