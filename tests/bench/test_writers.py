from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgeinfer.errors import MissingPackageError, SinkError, UsageError
from edgeinfer_bench import Report, Validity, check_report_path, merge, write_report
from edgeinfer_bench.writers import WRITERS
from edgeinfer_bench.writers.csv import csv_text
from edgeinfer_bench.writers.html import html_text
from edgeinfer_bench.writers.json import json_text
from edgeinfer_bench.writers.lead import lead
from edgeinfer_bench.writers.markdown import markdown_text
from edgeinfer_bench.writers.svg import svg_text

MakeReport = Callable[..., Report]
SVG = "{http://www.w3.org/2000/svg}"
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
    with pytest.raises(UsageError, match=r"report\.pdf.*\.json, \.csv, \.md, \.html, \.svg"):
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
    assert measured[2]["at_ns"] == "10000000"
    assert measured[0]["transfer_in_ns"] == measured[0]["stream"] == ""


def test_csv_names_the_process_and_the_stream_of_each_frame(make_report: MakeReport) -> None:
    report = make_report(frames=6, warmup=1, replicates=2, scenario="paced")
    first, second = report.results[0].replicates
    result = dataclasses.replace(
        report.results[0], replicates=(dataclasses.replace(first, streams=(0, 1, 0)), second)
    )
    text = csv_text(dataclasses.replace(report, results=(result,)))
    rows = [
        (row["process"], row["stream"], row["frame"])
        for row in csv.DictReader(text.splitlines())
        if row["phase"] == "measured"
    ]
    assert rows[:3] == [("1", "0", "0"), ("1", "1", "1"), ("1", "0", "2")]
    assert rows[3:] == [("2", "", "0"), ("2", "", "1"), ("2", "", "2")]


def test_markdown_shows_verdict_figures_and_command(make_report: MakeReport) -> None:
    text = markdown_text(make_report([2_000_000]))
    assert "**VALID**" in text and "| model0 | 2.00 (2.00–2.00) |" in text
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
    page = html_text(make_report(reasons=["5 frames are too few"]))
    body = page[page.index("<body>") :]
    assert body.index("INVALID") < body.index("<table")
    assert "too few" in body


def test_the_page_of_a_hundred_thousand_frames_stays_small(make_report: MakeReport) -> None:
    spread = [2_000_000 + 137 * index for index in range(5000)]
    report = make_report(
        spread, frames=100_000, replicates=5, scenario="paced", full=True, warmup=50
    )
    page = html_text(report)
    assert "100,000" in page
    assert len(page) < 150_000


def test_a_hundred_thousand_frames_come_back_from_their_json(
    make_report: MakeReport, tmp_path: Path
) -> None:
    report = make_report([2_000_000], frames=100_000, replicates=5, scenario="paced", full=True)
    path = tmp_path / "report.json"
    write_report(report, path)
    assert Report.load(path) == report
    assert max(map(len, path.read_text().splitlines())) > 100_000
    assert len(path.read_text().splitlines()) < 1500


def test_a_page_without_any_frame_is_still_a_page(make_report: MakeReport) -> None:
    report = make_report()
    nothing = dataclasses.replace(
        report.results[0].replicates[0],
        samples_ns={"at": (), "latency": (), "age": ()},
        warmup_samples_ns={"at": (), "latency": (), "age": ()},
        first_frame_ns=None,
        evidence={"error": "out of memory"},
    )
    empty = dataclasses.replace(report.results[0], replicates=(nothing,))
    broken = dataclasses.replace(report, results=(empty,))
    page = html_text(broken)
    assert "Latency over time" not in page
    assert "process 1 broke down: out of memory" in page
    for write in WRITERS.values():
        assert write(broken)


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("single", "2 ms median per frame"),
        ("paced", "At 100 frames a second, the median result is"),
        ("offline", "500 frames a second with 2 lanes."),
        ("server", "Holds 84 frames a second, arriving at random: 100 in 100 were answered"),
    ],
)
def test_each_scenario_has_its_first_sentence(
    make_report: MakeReport, scenario: str, said: str
) -> None:
    report = make_report(frames=50, scenario=scenario)
    assert said.replace("2 ms", "2.00 ms") in lead(report)
    assert said.split()[-1] in html_text(report)


def test_the_first_sentence_says_which_of_several_is_faster_and_by_how_much(
    make_report: MakeReport,
) -> None:
    turns = make_report([4_000_000], [3_000_000], frames=100, replicates=5)
    assert lead(turns) == "model1 takes 25% less time per frame than model0."
    apart = merge([make_report([4_000_000]), make_report([3_000_000])])
    assert lead(apart) == "model0 (2) is the quickest: 3.00 ms median per frame."
    nowhere = make_report(frames=50, scenario="server")
    failed = dataclasses.replace(
        nowhere.results[0], arrival={**nowhere.results[0].arrival, "rate": 0.0}
    )
    assert "No rate was found" in lead(dataclasses.replace(nowhere, results=(failed,)))


def test_a_rate_that_did_not_hold_is_not_said_to_hold(make_report: MakeReport) -> None:
    report = make_report(frames=1000, scenario="server")
    (result,) = report.results
    limit = sorted(result.replicates[0].column("age"))[500]
    late = dataclasses.replace(result, arrival={**result.arrival, "target_ns": limit})
    failed = dataclasses.replace(report, results=(late,))
    assert lead(failed).startswith("Does not hold the 84 frames a second")
    assert "84.0 not held" in markdown_text(failed) and "84.0 not held" not in markdown_text(report)
    apart = merge([failed, report])
    assert lead(apart) == "model0 (2) does most: 84 frames a second."
    assert lead(merge([failed, failed])) == "No rate was found that holds."


def test_few_processes_prove_nothing_and_the_first_sentence_still_says_what_was_seen(
    make_report: MakeReport,
) -> None:
    said = lead(make_report([1_000_000], [22_700_000], frames=100, replicates=2))
    assert re.match(r"model1 takes about 22.7 times \(.*\) as long per frame as model0;", said)
    assert "with 2 processes that is no proof" in said and "--replicates 5" in said
    quicker = lead(make_report([22_700_000], [1_000_000], frames=100, replicates=2))
    assert re.match(r"model0 takes about 22.7 times \(.*\) as long per frame as model1;", quicker)
    wide = [3_000_000, 3_000_000, 3_000_000, 6_000_000, 6_000_000, 6_000_000]
    turns = [wide[number // 10 % 6] for number in range(300)]
    open_ = lead(make_report([4_000_000], turns, frames=300, replicates=5))
    assert open_.startswith("Which of model1 and model0 is faster cannot be told")
    alike = lead(make_report([4_000_000], [4_001_000], frames=100, replicates=2))
    assert alike == "model1 and model0 take the same time, as far as can be told."


def test_the_page_shows_what_the_report_holds(make_report: MakeReport) -> None:
    paced = html_text(make_report(frames=200, scenario="paced", full=True))
    for said in ("What waiting costs", "Energy", "123.4", "frame dropped", "the box throttled"):
        assert said in paced
    for said in ("conv_9", "of peak", "Evidence"):
        assert said in paced
    plain = html_text(make_report(frames=200))
    for unsaid in ("What waiting costs", "Energy", "frame dropped", "the box throttled"):
        assert unsaid not in plain
    assert "Search for the highest rate" in html_text(make_report(scenario="server"))


def test_the_picture_is_well_formed_has_both_schemes_and_loads_nothing(
    make_report: MakeReport,
) -> None:
    report = named(make_report([2_000_000], [4_000_000], reasons=["hot"]), "<&>")
    text = svg_text(report)
    root = ET.fromstring(text)
    assert "INVALID" in "".join(root.itertext()) and "<&>" in "".join(root.itertext())
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"url\(|@import|href|<image", text)
    bars = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")][1:]
    assert bars == [55.0, 110.0]
