"""Views of a report: the file's ending chooses which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from edgeinfer.errors import UsageError
from edgeinfer.files import check_writable, write_text
from edgeinfer_bench.report import Report
from edgeinfer_bench.writers.csv import csv_text
from edgeinfer_bench.writers.html import check_html, html_text
from edgeinfer_bench.writers.json import json_text
from edgeinfer_bench.writers.markdown import markdown_text
from edgeinfer_bench.writers.svg import svg_text

WRITERS: Mapping[str, Callable[[Report], str]] = MappingProxyType(
    {
        ".json": json_text,
        ".csv": csv_text,
        ".md": markdown_text,
        ".html": html_text,
        ".svg": svg_text,
    }
)


def check_report_path(path: str | Path) -> None:
    """Refuse a report file before the long run, not after it.

    Raises:
        UsageError: for an ending that no writer has.
        SinkError: if the file cannot be written there.
        MissingPackageError: if its writer lacks a package.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise UsageError(
            f"A report cannot be written as '{path.name}': its ending chooses the form. "
            f"Known: {', '.join(WRITERS)}."
        )
    check_writable(path)
    if path.suffix.lower() == ".html":
        check_html()


def write_report(report: Report, path: str | Path) -> None:
    """Write one view of a report, whole or not at all.

    Raises:
        UsageError: for an ending that no writer has.
        SinkError: if the file cannot be written.
        MissingPackageError: if its writer lacks a package.
    """
    check_report_path(path)
    path = Path(path)
    write_text(path, WRITERS[path.suffix.lower()](report))
