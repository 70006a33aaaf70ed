"""`python -m edgeinfer_bench.goals`: measure every goal, report, exit 4 if one is missed."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from edgeinfer import cache
from edgeinfer.errors import CheckFailed, EdgeInferError
from edgeinfer.files import check_writable
from edgeinfer_bench.boxstate import look
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.cost import own_cost
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.memory import memory
from edgeinfer_bench.goals.pages import huge_pages
from edgeinfer_bench.goals.report import write_goals
from edgeinfer_bench.goals.startup import start_up
from edgeinfer_bench.goals.throughput import throughput

PARTS: Mapping[str, Callable[[Context], list[Goal]]] = MappingProxyType(
    {
        "cost": own_cost,
        "pages": huge_pages,
        "throughput": throughput,
        "startup": start_up,
        "memory": memory,
    }
)


def measure(context: Context, parts: Sequence[Callable[[Context], list[Goal]]]) -> list[Goal]:
    """Measure the parts, telling each goal as it is known."""
    goals: list[Goal] = []
    for part in parts:
        for goal in part(context):
            context.say(goal.text())
            goals.append(goal)
    return goals


def main(
    arguments: Sequence[str],
    parts: Mapping[str, Callable[[Context], list[Goal]]] | None = None,
    module: str = "edgeinfer_bench.goals",
) -> int:
    """Run the command for these parts, `PARTS` by default; returns the exit code."""
    parts = PARTS if parts is None else parts
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    parser.add_argument("--work", type=Path, help="folder for models and videos; kept")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on all rounds")
    chosen = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", module, *arguments])

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        for path in (chosen.report, chosen.report.with_suffix(".json")):
            check_writable(path)
        with tempfile.TemporaryDirectory(prefix="edgeinfer-goals-") as name:
            folder = Path(chosen.work or name).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            # Choices that the user stored for these models are not what is measured here.
            cache.set_root(folder / "cache")
            before = look()
            context = Context(folder, chosen.effort, say)
            goals = measure(context, [parts[name] for name in chosen.only])
            write_goals(goals, before, look(), command, chosen.report, context.notes)
    except EdgeInferError as error:
        say(str(error))
        return error.exit_code
    return 0 if all(goal.kept for goal in goals) else CheckFailed.exit_code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
