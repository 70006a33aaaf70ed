"""`edgeinfer doctor`: what is wrong with this environment, and what to do about it."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edgeinfer.cli.options import format_option
from edgeinfer.cli.output import print_json, progress
from edgeinfer.errors import CheckFailed

if TYPE_CHECKING:
    from edgeinfer.doctor import Finding

_ORDER = ("ok", "warn", "fail")
_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}
_NARROWEST, _WIDEST = 40, 100


@click.command(name="doctor")
@format_option
def command(output_format: str) -> None:
    """Look for what makes models slow or fail here, with a remedy for each; changes nothing.

    Each provider is proven by a tiny model in a process of its own. The exit code is 4 where
    something fails, 0 otherwise.
    """
    from edgeinfer.doctor import CHECKS, Box, examine

    with progress("checking", len(CHECKS)) as tell:
        findings = examine(Box(environment=os.environ), CHECKS, tell)
    if output_format == "json":
        print_json({"findings": [finding.to_dict() for finding in findings]})
    else:
        width = shutil.get_terminal_size((_WIDEST, 24)).columns
        click.echo(text(findings, min(_WIDEST, max(_NARROWEST, width))))
    failed = [finding.check for finding in findings if finding.verdict == "fail"]
    if failed:
        raise CheckFailed(
            f"What fails: {', '.join(dict.fromkeys(failed))}. The remedy stands under each."
        )


def text(findings: Sequence[Finding], width: int) -> str:
    """Findings for people, the worst last: on a small screen that is what stays in sight."""
    lines = []
    for verdict in _ORDER:
        for finding in findings:
            if finding.verdict == verdict:
                lines += _lines(finding, width)
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in _ORDER}
    said = [f"{counts['ok']} ok"]
    said += [f"{counts['warn']} to improve"] if counts["warn"] else []
    said += [f"{counts['fail']} failed"] if counts["fail"] else []
    return "\n".join([*lines, "", ", ".join(said)])


def _lines(finding: Finding, width: int) -> list[str]:
    """Verdict, check and detail; remedies below, on lines that can be copied where they fit."""
    mark = click.style(f"{finding.verdict:4}", fg=_COLORS[finding.verdict])
    wrapped = textwrap.wrap(
        f"{finding.check}: {finding.detail}",
        width - 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [f"{mark}  {wrapped[0]}", *(f"      {line}" for line in wrapped[1:])]
    if finding.remedy is not None:
        lines += textwrap.wrap(
            finding.remedy,
            width,
            initial_indent="      -> ",
            subsequent_indent="         ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
