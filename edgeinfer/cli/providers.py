"""`edgeinfer providers`: what can run here, and why the rest cannot."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

import click

from edgeinfer.cli.options import format_option
from edgeinfer.cli.output import print_json, table


@click.command(name="providers")
@format_option
def command(output_format: str) -> None:
    """Show what can run here, each proven by a tiny model in a process of its own."""
    from edgeinfer.providers.probe import probe_all

    found = probe_all()
    if output_format == "json":
        print_json({"providers": found})
        return
    rows = [("provider", "runs", "with", "devices")]
    rows += [
        (
            str(item["name"]),
            "yes" if item["available"] else "no",
            str(item["version"] or "-"),
            ", ".join(map(str, item["devices"])) or "-",
        )
        for item in found
    ]
    print(table(rows))
    width = min(100, max(40, shutil.get_terminal_size((100, 24)).columns))
    for item in found:
        for line in _below(item, width):
            print(line)


def _below(item: Mapping[str, Any], width: int) -> list[str]:
    """Why a provider does not run and what to do; of one that runs, what results depend on."""
    versions = ", ".join(f"{name} {version}" for name, version in item["versions"].items())
    said = f"{item['name']}: {versions if item['available'] else item['reason']}"
    if item["available"] and versions in ("", item["version"]):
        return []
    return textwrap.wrap(
        said, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
