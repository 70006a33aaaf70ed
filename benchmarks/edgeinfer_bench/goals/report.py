"""The goals as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeinfer.files import write_text
from edgeinfer.machine import this_machine
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.report import now_iso
from edgeinfer_bench.tables import Table
from edgeinfer_bench.versions import versions
from edgeinfer_bench.writers.markdown import markdown_table

SCHEMA = "edgeinfer.goals/1"


def goals_json(
    goals: Sequence[Goal],
    before: BoxState,
    after: BoxState,
    command: str,
    notes: Sequence[str] = (),
) -> str:
    """Everything, samples included."""
    data = {
        "schema": SCHEMA,
        "command": command,
        "created": now_iso(),
        "machine": this_machine().to_dict(),
        "versions": versions(),
        "before": asdict(before),
        "after": asdict(after),
        "notes": list(notes),
        "goals": [goal.to_dict() for goal in goals],
    }
    return json.dumps(data) + "\n"


def goals_markdown(
    goals: Sequence[Goal],
    before: BoxState,
    after: BoxState,
    command: str,
    notes: Sequence[str] = (),
) -> str:
    """For people."""
    missed = sum(not goal.kept for goal in goals)
    verdict = "All goals are kept." if not missed else f"{missed} of {len(goals)} goals are missed."
    rows = tuple(
        (
            goal.name,
            f"{goal.value:.2f} {goal.unit}",
            f"{'≥' if goal.at_least else '≤'} {goal.bound:.2f} {goal.unit}",
            goal.verdict,
        )
        for goal in goals
    )
    parts = [
        "# What edgeinfer promises about itself",
        f"{verdict} Measured {now_iso()} side by side in one run.",
        markdown_table(Table(("goal", "measured", "bound", "verdict"), rows, 1)),
        *(["\n".join(f"- {note}" for note in notes)] if notes else []),
        "## Behind the figures",
    ]
    for goal in goals:
        parts += [f"### {goal.name}", _list(goal.detail)]
    parts += ["## Box", _list(_box(before, after)), "## Repeat it", f"```sh\n{command}\n```"]
    return "\n\n".join(parts) + "\n"


def _list(items: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in items.items())


def _box(before: BoxState, after: BoxState) -> dict[str, str]:
    machine = this_machine()
    load = [f"{state.load[0]:.2f}" if state.load else "not told" for state in (before, after)]
    told: dict[str, Any] = {
        "processor": machine.cpu,
        "processors": machine.cpus,
        "features": ", ".join(machine.features),
        "load average before and after": " and ".join(load),
        "processor time given to other machines": _steal(before, after),
        **versions(),
    }
    return {name: str(value) for name, value in told.items()}


def _steal(before: BoxState, after: BoxState) -> str:
    if None in (before.steal_ticks, after.steal_ticks, before.total_ticks, after.total_ticks):
        return "not told"
    steal = (after.steal_ticks or 0) - (before.steal_ticks or 0)
    total = (after.total_ticks or 0) - (before.total_ticks or 0)
    return f"{steal / max(1, total):.2%}"


def write_goals(
    goals: Sequence[Goal],
    before: BoxState,
    after: BoxState,
    command: str,
    path: Path,
    notes: Sequence[str] = (),
) -> None:
    """Write the Markdown, and the JSON beside it; `notes` stand below the table.

    Raises:
        SinkError: if one of them cannot be written.
    """
    write_text(path, goals_markdown(goals, before, after, command, notes))
    write_text(path.with_suffix(".json"), goals_json(goals, before, after, command, notes))
