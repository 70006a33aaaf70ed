"""`edgeinfer providers`: what can run here, and why the rest cannot."""

from __future__ import annotations

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
    rows = [("provider", "runs", "with")]
    rows += [(str(p["name"]), "yes" if p["available"] else "no", str(p["version"])) for p in found]
    print(table(rows))
    for item in found:
        if item["reason"]:
            print(f"{item['name']}: {item['reason']}")
