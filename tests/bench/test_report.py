from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import ReportError, UsageError
from edgeinfer_bench import Report, Validity, merge, write_report

MakeReport = Callable[..., Report]


def test_a_report_comes_back_from_its_file_as_it_was(
    make_report: MakeReport, tmp_path: Path
) -> None:
    report = make_report([2_000_000, 3_000_000], [5_000_000])
    path = tmp_path / "report.json"
    write_report(report, path)
    assert Report.load(path) == report


def test_the_json_has_the_keys_of_the_contract(make_report: MakeReport) -> None:
    data = make_report().to_dict()
    assert data["schema"] == "edgeinfer.report/1"
    result = data["results"][0]
    assert result["schema"] == "edgeinfer.run/1"
    for key in (
        "model",
        "provider",
        "provider_impl",
        "device",
        "compute_precision",
        "requested_provider",
        "skipped_providers",
        "placement",
        "frames",
        "warmup_frames",
        "dropped",
        "fps",
        "latency_ns",
        "age_ns",
        "stages_ns",
        "plan",
        "flags",
        "scenario",
        "samples_ns",
        "warmup_samples_ns",
        "opening_ns",
        "first_frame_ns",
        "source",
    ):
        assert key in result
    assert result["latency_ns"]["n"] == result["frames"] == len(result["samples_ns"]["latency"])
    json.dumps(data, allow_nan=False)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"gone\.json does not exist"):
        Report.load(tmp_path / "gone.json")
    with pytest.raises(ReportError, match="cannot be read"):
        Report.load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_report_is_said_to_be_cut_off(
    make_report: MakeReport, tmp_path: Path, share: float
) -> None:
    path = tmp_path / "report.json"
    write_report(make_report(), path)
    whole = path.read_bytes().rstrip()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ReportError, match="cut off"):
        Report.load(path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "edgeinfer.report/2"}', "3"])
def test_another_schema_is_refused_and_both_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=r"edgeinfer\.report/1"):
        Report.load(path)


def _drop(data: Any, result: Any) -> None:
    del data["machine"]


def _no_results(data: Any, result: Any) -> None:
    data["results"] = []


def _uneven(data: Any, result: Any) -> None:
    result["samples_ns"]["age"].pop()


def _text_sample(data: Any, result: Any) -> None:
    result["samples_ns"]["latency"][0] = "1"


def _null_latency(data: Any, result: Any) -> None:
    result["samples_ns"]["latency"][0] = None


def _no_list(data: Any, result: Any) -> None:
    data["results"] = 3


@pytest.mark.parametrize(
    "damage", [_drop, _no_results, _uneven, _text_sample, _null_latency, _no_list]
)
def test_a_damaged_report_is_refused(
    make_report: MakeReport, tmp_path: Path, damage: Callable[[Any, Any], None]
) -> None:
    data = make_report().to_dict()
    damage(data, data["results"][0])
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match="measure again"):
        Report.load(path)


def test_merged_reports_share_a_page_and_keep_their_labels_apart(make_report: MakeReport) -> None:
    one, other = make_report(), make_report()
    merged = merge([one, other])
    assert [result.label for result in merged.results] == ["model0", "model0 (2)"]
    assert merged.valid
    assert all(result.block is None for result in merged.results)


def test_what_speaks_against_one_run_speaks_against_the_page(make_report: MakeReport) -> None:
    bad = dataclasses.replace(make_report(), validity=Validity(reasons=("too hot",)))
    merged = merge([make_report(), bad])
    assert not merged.valid
    assert merged.validity.reasons == ("too hot",)


def test_reports_of_different_boxes_are_not_merged(make_report: MakeReport) -> None:
    one = make_report()
    other = dataclasses.replace(one, machine={**one.machine, "cpu": "another"})
    with pytest.raises(UsageError, match=r"machine.*another"):
        merge([one, other])
    with pytest.raises(UsageError):
        merge([])


def test_the_parts_of_a_latency_add_up_to_its_mean(make_report: MakeReport) -> None:
    result = make_report([2_000_000, 4_000_000]).results[0]
    assert sum(result.stage_means().values()) == pytest.approx(3_000_000)
