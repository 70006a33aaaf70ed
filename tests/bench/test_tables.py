from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeinfer_bench import Report, merge, summary_table, tables

MakeReport = Callable[..., Report]


def test_a_quantile_is_stated_only_with_frames_enough_and_a_footnote_says_so(
    make_report: MakeReport,
) -> None:
    table = tables.headline(make_report([2_000_000], frames=40))
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["p50 ms"] == "2.00"
    assert row["p90 ms"] == row["p99 ms"] == "-"
    assert tables.FOOTNOTE in table.notes
    enough = tables.headline(make_report([2_000_000], frames=1000))
    assert tables.FOOTNOTE not in enough.notes


def test_numbers_of_a_column_share_their_decimals(make_report: MakeReport) -> None:
    table = tables.headline(make_report([28_123_456], [351_000], frames=40))
    assert [row[1] for row in table.rows] == ["28.123", "0.351"]


@pytest.mark.parametrize(
    ("smallest_ns", "digits"), [(100, 3), (351_000, 3), (2_000_000, 2), (28e6, 1), (3e9, 0)]
)
def test_decimals_follow_the_smallest_value(smallest_ns: float, digits: int) -> None:
    assert tables.decimals([5e9, smallest_ns, None, 0]) == digits


def test_a_ratio_is_stated_only_between_models_that_took_turns(make_report: MakeReport) -> None:
    turns = make_report([2_000_000], [1_000_000])
    assert "time ratio" in tables.headline(turns).header
    apart = merge([make_report([2_000_000]), make_report([1_000_000])])
    assert "time ratio" not in tables.headline(apart).header


def test_text_columns_line_up(make_report: MakeReport) -> None:
    lines = tables.render(tables.headline(make_report([2_000_000], [11_000_000]))).splitlines()
    assert len({line.index("ms") for line in lines[:1]}) == 1
    assert lines[1].index("2.00") + 4 == lines[2].index("11.00") + 5


def test_the_terminal_sees_verdict_figures_stages_and_notes(make_report: MakeReport) -> None:
    text = summary_table(make_report([2_000_000], frames=40))
    assert "VALID" in text and "2.00" in text and "preprocess" in text
    assert "held in memory" in text
    assert "INVALID" in summary_table(make_report([2_000_000], frames=5))


def test_placement_names_provider_and_the_commonest_op_types(make_report: MakeReport) -> None:
    assert tables.placement(make_report()).rows == (("model0", "cpu", "Conv 2, Sigmoid 1", "3"),)
