"""`edgeinfer export` as a user calls it: the harness knows nothing of the exporter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeinfer.machine import this_machine
from edgeinfer_bench.goals.context import Context, fresh
from edgeinfer_bench.goals.providers.subjects import has_vnni


def export(
    context: Context, source: Path, output: Path, options: Sequence[str], *, cold: bool = False
) -> dict[str, Any]:
    """Export in a fresh process and return its report.

    Args:
        cold: whether ranges that were measured before are forgotten.

    Raises:
        EdgeInferError: if it fails.
    """
    report = output.with_suffix(".report.json")
    cache = context.folder / "export-cache" / (output.stem if cold else "shared")
    variables = {"EDGEINFER_CACHE": str(cache)}
    command = ["-m", "edgeinfer", "export", str(source), "-o", str(output), *options]
    fresh([*command, "--report", str(report)], context.folder, variables)
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def target() -> str:
    """What fits this box."""
    if this_machine().architecture != "x86_64":
        return "arm"
    return "x86-vnni" if has_vnni() else "x86-any"


def demo_data() -> Path:
    """A trained detector with pictures to calibrate and validate on; ships with the package."""
    import edgeinfer

    return Path(edgeinfer.__file__).parent / "cli" / "demo_data"
