from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from edgeinfer_bench import Report, merge, summary_table, tables
from edgeinfer_bench.tables.box import throttled_spans
from edgeinfer_bench.tables.table import parted, share

MakeReport = Callable[..., Report]
SCENARIOS = ("single", "paced", "offline", "server")


def gamma(count: int, scale: float = 1.0) -> list[int]:
    random = np.random.default_rng(7)
    return (scale * 5e6 * (1 + 0.05 * random.gamma(2, 1, count))).astype(int).tolist()


def first_row(table: tables.Table) -> dict[str, str]:
    return dict(zip(table.header, table.rows[0], strict=True))


def test_a_quantile_is_stated_only_with_frames_enough_and_a_footnote_says_so(
    make_report: MakeReport,
) -> None:
    table = tables.headline(make_report([2_000_000], frames=40))
    row = first_row(table)
    assert row["p50 ms"] == "2.00 (2.00–2.00)"
    assert row["p90 ms"] == row["p99 ms"] == "-"
    assert "p99.9 ms" not in row
    assert tables.FOOTNOTE in table.notes
    enough = tables.headline(make_report([2_000_000], frames=10_000))
    assert tables.FOOTNOTE not in enough.notes
    assert first_row(enough)["p99.9 ms"] == "2.00"


def test_medians_and_tails_carry_their_intervals(make_report: MakeReport) -> None:
    report = make_report(gamma(2000), frames=2000, replicates=5)
    row = first_row(tables.headline(report))
    for name in ("p50 ms", "p99 ms"):
        value, interval = parted(row[name])
        low, high = map(float, interval.split("–"))
        assert low <= float(value) <= high
    assert parted(row["p90 ms"])[1] == ""


def test_too_few_processes_are_said_beside_their_intervals(make_report: MakeReport) -> None:
    one = tables.headline(make_report(frames=100))
    assert any("1 process they say little" in note for note in one.notes)
    five = tables.headline(make_report(frames=100, replicates=5))
    assert not any("say little" in note for note in five.notes)


def test_numbers_of_a_column_share_their_decimals(make_report: MakeReport) -> None:
    table = tables.headline(make_report([28_123_456], [351_000], frames=40))
    assert [parted(row[1])[0] for row in table.rows] == ["28.123", "0.351"]


@pytest.mark.parametrize(
    ("smallest_ns", "digits"), [(100, 3), (351_000, 3), (2_000_000, 2), (28e6, 1), (3e9, 0)]
)
def test_decimals_follow_the_smallest_value(smallest_ns: float, digits: int) -> None:
    assert tables.decimals([5e9, smallest_ns, None, 0]) == digits


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 9, "0%"), (1, 10**6, "<0.01%"), (1, 8, "12.5%"), (9, 9, "100%"), (1, 0, "-")],
)
def test_a_share_above_nothing_never_reads_zero(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_a_paced_headline_states_age_late_and_dropped_frames(make_report: MakeReport) -> None:
    report = make_report([4e6, 30e6], frames=400, scenario="paced", full=True)
    row = first_row(tables.headline(report))
    assert row["late"] == "50%"
    dropped = len(range(7, 400, 61))
    assert row["dropped"] == share(dropped, 400 + dropped)
    assert row["arrivals/s"] == "100"
    assert float(parted(row["age p50 ms"])[0]) > 4
    assert any("deadline of 10 ms" in note for note in tables.headline(report).notes)


def test_a_server_headline_states_the_rate_held_and_the_table_of_trials_every_try(
    make_report: MakeReport,
) -> None:
    report = make_report(frames=400, scenario="server")
    row = first_row(tables.headline(report))
    assert (row["rate held/s"], row["target ms"]) == ("84.0", "12.0")
    tried = tables.trials(report.results[0])
    assert [line[0] for line in tried.rows] == ["held", "held", "not held", "not held"]
    assert tried.rows[1][1:] == ("84.0", "1,000", "0.4%", "11.20")
    assert tried.rows[-1][-1] == "-" and "its age is then unknown" in tried.notes[0]


def test_an_offline_headline_opens_with_the_throughput(make_report: MakeReport) -> None:
    table = tables.headline(make_report([2_000_000], scenario="offline"))
    assert table.header[:3] == ("model", "frames/s", "lanes")
    assert table.rows[0][:3] == ("model0", "500", "2")


def test_scenarios_have_a_headline_each(make_report: MakeReport) -> None:
    merged = merge([make_report(), make_report(scenario="paced")])
    assert list(tables.headlines(merged)) == ["single", "paced"]


def test_a_ratio_is_stated_only_between_models_that_took_turns(make_report: MakeReport) -> None:
    turns = make_report([2_000_000], [1_000_000])
    assert "time ratio" in tables.headline(turns).header
    apart = merge([make_report([2_000_000]), make_report([1_000_000])])
    assert "time ratio" not in tables.headline(apart).header


def test_every_process_has_a_row_and_many_become_ranges(make_report: MakeReport) -> None:
    few = tables.processes(make_report(frames=100, replicates=5))
    assert [row[0] for row in few.rows] == ["1", "2", "3", "4", "5"]
    assert few.rows[4][1:3] == ("152", "33.0")
    many = tables.processes(make_report(frames=300, replicates=30))
    assert [row[:3] for row in many.rows] == [("model0", "30", "140–227")]


def test_a_process_that_broke_down_is_named(make_report: MakeReport) -> None:
    report = make_report()
    broken = dataclasses.replace(report.results[0].replicates[0], evidence={"error": "no memory"})
    result = dataclasses.replace(report.results[0], replicates=(broken,))
    assert tables.processes(make_report([5], [6])).header[:2] == ("model", "process")
    table = tables.processes(dataclasses.replace(report, results=(result,)))
    assert table.notes == ("model0, process 1 broke down: no memory",)


def test_the_idle_gap_compares_frames_back_to_back_with_paced_ones(make_report: MakeReport) -> None:
    table = tables.idle_gap(make_report([5_000_000], scenario="paced"))
    assert table.rows == (("model0", "4.00", "5.00", "1.25"),)
    assert tables.idle_gap(make_report()).rows == ()


def test_operators_state_their_speed_against_the_peak(make_report: MakeReport) -> None:
    result = make_report(full=True).results[0]
    top = first_row(tables.top_operators(result))
    assert (top["shape"], top["GFLOP/s"], top["of peak"]) == ("1×64×80×80", "220.5", "53.8%")
    types = tables.operator_types(result)
    assert types.rows[1][-2:] == ("-", "-")
    assert any("53.7% of the 410" in note for note in types.notes)


def test_why_operators_are_unknown_is_said(make_report: MakeReport) -> None:
    result = dataclasses.replace(make_report().results[0], operators={"reason": "no profile"})
    assert tables.operator_types(result).notes == ("no profile",)
    assert tables.top_operators(result).rows == ()


def test_energy_and_evidence_are_told(make_report: MakeReport) -> None:
    report = make_report(full=True)
    assert tables.energy(report).rows == (("model0", "RAPL", "123.4"),)
    seen = dict(tables.evidence(report).rows)
    assert seen["processor clock"] == "2,000 MHz to 2,030 MHz"
    assert seen["temperature"] == "50 °C to 53 °C"
    assert seen["throttled while looked at"] == "0.07 s in 1 part"
    assert dict(tables.evidence(make_report()).rows)["temperature"] == "not told"


def test_throttled_spans_follow_from_samples_where_nothing_else_tells(
    make_report: MakeReport,
) -> None:
    run = dict(make_report(full=True).validity.evidence)
    del run["throttled_spans"]
    second = 10**9
    assert throttled_spans(run) == [(5 * second, 6 * second)]


def test_what_holds_for_all_models_is_said_once(make_report: MakeReport) -> None:
    report = make_report([5_000_000], [6_000_000])
    assert [row[0] for row in tables.sources(report).rows] == ["all"]
    assert [row[0] for row in tables.placement(report).rows] == ["model0", "model1"]


def test_peers_stand_beside_each_other(make_report: MakeReport) -> None:
    report = make_report([2_000_000], [4_000_000], frames=100)
    told = {"frames": 20, "same": 19, "sentence": "a box is missing.", "figures": {}}
    peer = {"name": "OpenVINO", "version": "2026.1", "agreement": told}
    other = dataclasses.replace(report.results[1], about={**report.results[1].about, "peer": peer})
    table = tables.peers(dataclasses.replace(report, results=(report.results[0], other)))
    assert table.rows[0][:3] == ("model0", "edgeinfer", "-")
    assert table.rows[1][1:4] == ("OpenVINO 2026.1", "on 19 of 20 frames", "4.00")
    assert table.notes[1] == "model1: a box is missing."
    assert tables.peers(report).rows == ()


def test_text_columns_line_up(make_report: MakeReport) -> None:
    lines = tables.render(tables.stage_means(make_report([2_000_000], [11_000_000]))).splitlines()
    assert lines[1].index("0.400") == lines[2].index("2.200")
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("label", ["m", "a/long/path/to/some/model-" + "x" * 120 + "-int8"])
def test_the_terminal_never_needs_more_than_a_hundred_columns(
    make_report: MakeReport, scenario: str, label: str
) -> None:
    report = make_report(
        gamma(12_000, 1000), gamma(12_000), frames=12_000, scenario=scenario, replicates=5
    )
    renamed = [dataclasses.replace(each, label=label + each.label) for each in report.results]
    report = dataclasses.replace(report, results=tuple(renamed))
    text = summary_table(report)
    assert max(map(len, text.splitlines())) <= 100
    for kept in ("p99 ms", "inference", "VALID", "model1"):
        assert kept in text


def test_the_terminal_sees_verdict_figures_stages_and_notes(make_report: MakeReport) -> None:
    text = summary_table(make_report([2_000_000], frames=40))
    assert "VALID" in text and "2.00" in text and "preprocess" in text
    assert "held in memory" in text
    assert "INVALID:\n  too few" in summary_table(make_report(reasons=["too few frames"]))


def test_placement_names_provider_and_the_commonest_op_types(make_report: MakeReport) -> None:
    assert tables.placement(make_report()).rows == (("model0", "cpu", "Conv 2, Sigmoid 1", "3"),)


def test_what_ran_states_lanes_and_where_the_plan_came_from(make_report: MakeReport) -> None:
    row = first_row(tables.ran(make_report(scenario="offline")))
    assert (row["threads"], row["lanes"], row["plan"]) == ("2", "2", "default")
