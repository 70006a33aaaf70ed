"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edgeinfer.timing import format_ns


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout, valid whatever the numbers."""
    from edgeinfer.results import finite

    clean, _ = finite(document)
    print(json.dumps(clean, indent=2, allow_nan=False))


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def say_notes(guessed: Sequence[str], opening: Sequence[str] = ()) -> None:
    """Say what was guessed about a model, and what is worth telling about its opening."""
    if guessed:
        say(
            f"edgeinfer: guessed {'; '.join(guessed)}. If that is wrong, say it with --head, "
            f"--task or --spec."
        )
    for note in opening:
        say(f"edgeinfer: {note}.")


def table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def summary_text(summary: Mapping[str, Any]) -> str:
    """A run's summary for people."""
    plan = summary["plan"]
    served = f"{summary['provider']} ({summary['provider_impl']}), {_threads(plan['threads'])}"
    lines = [
        f"{summary['frames']} frames, {summary['dropped']} dropped, {summary['fps']:.1f} frames/s, "
        f"on {served}"
    ]
    if summary.get("errors"):
        lines.append(f"{summary['errors']} frames could not be used")
    rows: list[tuple[str, ...]] = [("", "mean", "p50", "p90", "p99", "max")]
    shown = [("latency", summary["latency_ns"])]
    shown += [(f"  {name}", summary["stages_ns"][name]) for name in summary["stages_ns"]]
    shown.append(("age", summary["age_ns"]))
    for name, values in shown:
        rows.append((name, *(format_ns(values.get(key)) for key in rows[0][1:])))
    lines.append(table(rows))
    if summary["flags"]:
        lines.append(f"flags: {', '.join(summary['flags'])}")
    return "\n".join(lines)


@contextmanager
def progress(text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, silent where that is no terminal.

    Yields:
        A function that takes how much is done.
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task(text, total=total)
        yield lambda done: bar.update(job, completed=done)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
