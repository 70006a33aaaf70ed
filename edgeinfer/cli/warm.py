"""`edgeinfer warm`: build engines and caches ahead."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.cli.caching import size_text
from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json, say, say_notes, table
from edgeinfer.errors import UsageError
from edgeinfer.timing import format_ns

if TYPE_CHECKING:
    from edgeinfer.compiled import Artefact
    from edgeinfer.model import LoadOptions
    from edgeinfer.warm import Warmed


@click.command(name="warm")
@click.argument("model", type=PATH, required=False)
@model_options
@click.option("--list", "listing", is_flag=True, help="Show what is cached. [default: off]")
@click.option(
    "--clear",
    "clearing",
    is_flag=True,
    help="Drop what is cached and in use by no process; stored plans stay. [default: off]",
)
@format_option
def command(
    model: Path | None,
    load_options: LoadOptions,
    listing: bool,
    clearing: bool,
    output_format: str,
) -> None:
    """Build ahead what opening MODEL with these options would build or could use: engines, blobs,
    the graph as the CPU provider optimizes it, preprocessing in the graph.

    EDGEINFER_CACHE_BYTES bounds the cache (8G by default), EDGEINFER_CACHE moves it."""
    if (model is not None) + listing + clearing != 1:
        raise UsageError("Give one of them: a MODEL to build ahead for, --list, or --clear.")
    if model is None:
        _manage(clearing, output_format)
        return
    from edgeinfer.warm import warm

    with _working(f"warming {model.name}"):
        warmed = warm(model, load_options)
    say_notes((), warmed.notes)
    if output_format == "json":
        print_json(warmed.to_dict())
    else:
        print(_text(warmed))


def _manage(clearing: bool, output_format: str) -> None:
    """Show or clear the cache."""
    from edgeinfer import cache, compiled

    items = compiled.clear() if clearing else compiled.artefacts()
    kept = compiled.artefacts() if clearing else []
    if output_format == "json":
        found = {"artefacts": [item.to_dict() for item in items], "path": str(cache.root())}
        print_json({**found, "kept": [item.to_dict() for item in kept]} if clearing else found)
        return
    if items:
        print(table([_row(item) for item in items]))
    total = size_text(sum(item.size for item in items))
    done = "dropped from" if clearing else "in"
    print(f"artefacts: {len(items)}, {total}, {done} {cache.root()}")
    if kept:
        print(f"kept, because a process uses them or they cannot be deleted: {len(kept)}")


def _row(item: Artefact) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(item.used_ns / 1e9))
    model = item.key.get("sha256", "?")[:12]
    return (item.kind, f"model {model}", size_text(item.size), f"used {when}")


def _text(warmed: Warmed) -> str:
    rows = [
        (item.kind, size_text(item.size), format_ns(item.built_ns), what)
        for items, what in ((warmed.built, "built"), (warmed.found, "was there"))
        for item in items
    ]
    rows.append(("verdict of vetting", "", "", "made" if warmed.vetted else "was there"))
    summary = warmed.summary
    times = f"opens in {format_ns(warmed.then_ns)} now ({format_ns(warmed.first_ns)} with building)"
    return f"{table(rows)}\n{summary['provider']} ({summary['provider_impl']}) {times}"


@contextmanager
def _working(text: str) -> Iterator[None]:
    """A sign of life on stderr, silent where that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from edgeinfer import compiled

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(text, total=None)
        compiled.set_teller(lambda line: bar.console.print(f"edgeinfer: {line}.", markup=False))
        try:
            yield
        finally:
            compiled.set_teller(lambda line: say(f"edgeinfer: {line}."))
