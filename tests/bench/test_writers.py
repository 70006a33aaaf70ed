from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgeinfer.errors import MissingPackageError, SinkError, UsageError
from edgeinfer_bench import Report, Validity, check_report_path, write_report
from edgeinfer_bench.writers import WRITERS
from edgeinfer_bench.writers.html import html_text
from edgeinfer_bench.writers.json import json_text
from edgeinfer_bench.writers.markdown import markdown_text

MakeReport = Callable[..., Report]
_VOID = {"meta", "br", "path", "link", "img", "hr"}


class Balanced(HTMLParser):
    """Collects what the page loads and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}
        assert tag not in ("script", "iframe", "link")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def named(report: Report, label: str) -> Report:
    result = dataclasses.replace(report.results[0], label=label)
    return dataclasses.replace(report, results=(result, *report.results[1:]))


@pytest.mark.parametrize("ending", list(WRITERS))
def test_every_ending_writes_a_file(make_report: MakeReport, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report{ending}"
    write_report(make_report(), path)
    assert path.stat().st_size > 100
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_unknown_ending_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"report\.pdf.*\.json, \.csv, \.md, \.html"):
        check_report_path(tmp_path / "report.pdf")


def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="nowhere"):
        check_report_path(tmp_path / "nowhere" / "report.json")


def test_a_page_without_its_template_package_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r"edgeinfer\[bench\]"):
        check_report_path(tmp_path / "report.html")
    check_report_path(tmp_path / "report.md")


def test_an_older_report_stays_when_the_new_one_fails(
    make_report: MakeReport, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    broken = dataclasses.replace(make_report(), command=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        write_report(broken, path)
    assert path.read_text() == "old"


def test_json_keeps_each_column_on_one_line_and_has_no_nan(make_report: MakeReport) -> None:
    report = make_report()
    odd = dataclasses.replace(report, validity=Validity(evidence={"steal_share": float("nan")}))
    text = json_text(odd)
    assert json.loads(text)["validity"]["evidence"]["steal_share"] is None
    lines = [line for line in text.splitlines() if line.strip().startswith('"latency": [')]
    assert len(lines) == 2
    assert "NaN" not in text


def test_csv_has_one_row_per_frame(make_report: MakeReport, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    write_report(make_report([2_000_000], [5_000_000], frames=40, warmup=3), path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 2 * (40 + 3)
    measured = [row for row in rows if row["phase"] == "measured" and row["result"] == "model1"]
    assert {row["latency_ns"] for row in measured} == {"5000000"}
    assert measured[-1]["frame"] == "39"
    assert measured[0]["transfer_in_ns"] == ""


def test_markdown_shows_verdict_figures_and_command(make_report: MakeReport) -> None:
    text = markdown_text(make_report([2_000_000]))
    assert "**VALID**" in text and "| model0 | 2.00 |" in text
    assert "edgeinfer bench x" in text


def test_names_cannot_become_markup(make_report: MakeReport) -> None:
    report = named(make_report(), "<b>*a|b*</b>")
    text = markdown_text(report)
    assert "<b>" not in text and "\\|" in text
    page = html_text(report)
    assert "<b>*a" not in page


def test_the_page_stands_alone_and_is_well_formed(make_report: MakeReport) -> None:
    page = html_text(make_report([2_000_000, 3_000_000], [5_000_000], frames=60))
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert not re.search(r"https?://|url\(|@import", page)
    for said in ("VALID", "2.00", "Where the time goes", "Conv 2", "edgeinfer bench x"):
        assert said in parser.text


def test_the_page_says_invalid_and_why_in_plain_sight(make_report: MakeReport) -> None:
    page = html_text(make_report(frames=5))
    body = page[page.index("<body>") :]
    assert body.index("INVALID") < body.index("<table")
    assert "too few" in body


def test_the_page_of_a_hundred_thousand_frames_stays_small(make_report: MakeReport) -> None:
    spread = [2_000_000 + 137 * index for index in range(5000)]
    report = make_report(spread, frames=30_000)
    big = dataclasses.replace(
        report.results[0],
        samples_ns={
            name: (column * 4)[:100_000] for name, column in report.results[0].samples_ns.items()
        },
    )
    page = html_text(dataclasses.replace(report, results=(big,)))
    assert "100,000" in page
    assert len(page) < 150_000


def test_a_page_without_any_frame_is_still_a_page(make_report: MakeReport) -> None:
    report = make_report()
    empty = dataclasses.replace(report.results[0], samples_ns={"latency": (), "age": ()})
    page = html_text(dataclasses.replace(report, results=(empty,)))
    assert "Latency over time" not in page
