from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import ReportError
from edgeinfer_bench import Report, write_report
from edgeinfer_bench.report import unique
from edgeinfer_bench.stats import intervals

MakeReport = Callable[..., Report]


SCENARIOS = ("single", "paced", "offline", "server")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("full", [False, True])
def test_a_report_comes_back_from_its_file_as_it_was(
    make_report: MakeReport, tmp_path: Path, scenario: str, full: bool
) -> None:
    report = make_report(
        [2_000_000, 3_000_000], [5_000_000], scenario=scenario, replicates=3, full=full
    )
    path = tmp_path / "report.json"
    write_report(report, path)
    found = Report.load(path)
    assert found.to_dict() == report.to_dict()
    assert [item.replicates for item in found.results] == [
        item.replicates for item in report.results
    ]
    assert found.validity == report.validity


def test_the_json_has_the_keys_of_the_contract(make_report: MakeReport) -> None:
    data = make_report(frames=100, replicates=2).to_dict()
    assert data["schema"] == "edgeinfer.report/2"
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
        "missed",
        "fps",
        "latency_ns",
        "age_ns",
        "stages_ns",
        "ci95_ns",
        "plan",
        "flags",
        "scenario",
        "arrival",
        "block",
        "opening_ns",
        "first_frame_ns",
        "source",
        "operators",
        "energy",
        "peer",
        "replicates",
    ):
        assert key in result
    raw = [item["samples_ns"]["latency"] for item in result["replicates"]]
    assert result["latency_ns"]["n"] == result["frames"] == sum(map(len, raw)) == 100
    json.dumps(data, allow_nan=False)


def test_what_never_ends_is_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeinfer_bench.report._MOST_BYTES", 1 << 20)
    with pytest.raises(ReportError, match="larger than 1 MiB"):
        Report.load(Path("/dev/zero"))


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


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "edgeinfer.report/1"}', "3"])
def test_another_schema_is_refused_and_both_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ReportError, match=r"edgeinfer\.report/2"):
        Report.load(path)


def _drop(data: Any, result: Any) -> None:
    del data["machine"]


def _no_results(data: Any, result: Any) -> None:
    data["results"] = []


def _no_replicates(data: Any, result: Any) -> None:
    result["replicates"] = []


def _no_list(data: Any, result: Any) -> None:
    data["results"] = 3


def _no_machine(data: Any, result: Any) -> None:
    data["machine"] = "a fast one"


def _uneven(data: Any, replicate: Any) -> None:
    replicate["samples_ns"]["age"].pop()


def _text_sample(data: Any, replicate: Any) -> None:
    replicate["samples_ns"]["latency"][0] = "1"


def _a_fraction(data: Any, replicate: Any) -> None:
    replicate["samples_ns"]["latency"][0] = 1.5


def _a_truth(data: Any, replicate: Any) -> None:
    replicate["drops_at_ns"] = [True]


def _null_latency(data: Any, replicate: Any) -> None:
    replicate["samples_ns"]["latency"][0] = None


def _no_column(data: Any, replicate: Any) -> None:
    del replicate["samples_ns"]["at"]


def _other_turns(data: Any, replicate: Any) -> None:
    replicate["turns"][0] += 1


def _some_streams(data: Any, replicate: Any) -> None:
    replicate["streams"] = [0]


def _endless_sample(data: Any, replicate: Any) -> None:
    replicate["samples_ns"]["latency"][0] = 10**400


def _endless_time(data: Any, replicate: Any) -> None:
    replicate["elapsed_ns"] = 10**400


def _endless_deadline(data: Any, result: Any) -> None:
    result["arrival"]["deadline_ns"] = 10**400


Damage = Callable[[Any, Any], None]
OF_REPORT = [_drop, _no_results, _no_replicates, _no_list, _no_machine, _endless_deadline]
OF_PROCESS = [
    _uneven,
    _text_sample,
    _a_fraction,
    _a_truth,
    _null_latency,
    _no_column,
    _other_turns,
    _some_streams,
    _endless_sample,
    _endless_time,
]


@pytest.mark.parametrize("damage", [*OF_REPORT, *OF_PROCESS])
def test_a_damaged_report_is_refused(
    make_report: MakeReport, tmp_path: Path, damage: Damage
) -> None:
    data = make_report().to_dict()
    result = data["results"][0]
    damage(data, result if damage in OF_REPORT else result["replicates"][0])
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ReportError, match="measure again"):
        Report.load(path)


def test_labels_that_are_alike_are_kept_apart() -> None:
    assert unique(["a", "b", "a", "a (2)", "a"]) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]


# What a result says of its samples


def test_statistics_are_those_of_all_processes(make_report: MakeReport) -> None:
    values = [1_000_000 + 1000 * number for number in range(1000)]
    result = make_report(values, frames=1000, replicates=5).results[0]
    assert len(result.replicates) == 5 and result.frames == 1000
    assert result.samples_ns["latency"] == tuple(values)
    assert result.latency_ns["mean"] == round(statistics.fmean(values))
    # By nearest rank: the 500th and the 990th of 1000.
    assert result.latency_ns["p50"] == values[499]
    assert result.latency_ns["p99"] == values[989]
    assert (result.latency_ns["p999"], result.latency_ns["max"]) == (None, values[-1])
    expected = intervals([item.column("latency") for item in result.replicates])
    assert result.ci95_ns == {"latency": expected}


def test_a_stage_that_only_one_process_saw_has_gaps_for_the_others(
    make_report: MakeReport,
) -> None:
    result = make_report([1000], frames=4, replicates=2).results[0]
    first, second = result.replicates
    more = {**second.samples_ns, "transfer_in": (5, None)}
    mixed = dataclasses.replace(
        result, replicates=(first, dataclasses.replace(second, samples_ns=more))
    )
    assert mixed.samples_ns["transfer_in"] == (None, None, 5, None)
    assert mixed.stages_ns["transfer_in"]["n"] == 1
    assert list(mixed.stages_ns) == ["preprocess", "transfer_in", "inference", "postprocess"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_where_frames_arrive_by_themselves_their_age_counts(
    make_report: MakeReport, scenario: str
) -> None:
    result = make_report([2_000_000], frames=100, scenario=scenario).results[0]
    waits = scenario in ("paced", "server")
    assert result.headline == ("age" if waits else "latency")
    assert (result.headline_ns["max"] or 0) > 2_000_000 or not waits
    assert set(result.ci95_ns) == ({"latency", "age"} if waits else {"latency"})


def test_frames_per_second_are_those_that_were_answered(make_report: MakeReport) -> None:
    assert make_report([2_000_000], frames=50).results[0].fps == pytest.approx(500)
    # An arrival every 10 ms; the last one is answered 2 ms after it came.
    paced = make_report([2_000_000], frames=50, scenario="paced").results[0]
    assert paced.fps == pytest.approx(50 / 0.492)
    assert make_report([2_000_000], frames=0).results[0].fps == 0.0


def test_frames_that_are_too_old_when_answered_have_missed_their_deadline(
    make_report: MakeReport,
) -> None:
    """10 ms; a frame that waits misses it though it is answered quickly."""
    result = make_report([2_000_000], frames=4, scenario="paced").results[0]
    process = result.replicates[0]
    samples = {**process.samples_ns, "age": (2_000_000, 10_000_000, 10_000_001, 40_000_000)}
    waited = (dataclasses.replace(process, samples_ns=samples),)
    assert dataclasses.replace(result, replicates=waited).missed == 2
    assert make_report(frames=40).results[0].missed is None


def test_drops_are_counted_over_all_processes(make_report: MakeReport) -> None:
    result = make_report(frames=400, scenario="paced", replicates=2, full=True).results[0]
    dropped = [len(item.drops_at_ns) for item in result.replicates]
    assert result.dropped == sum(dropped) > max(dropped) > 0
    assert sum(item.offered for item in result.replicates) == result.frames + result.dropped


def test_the_parts_of_a_latency_add_up_to_its_mean(make_report: MakeReport) -> None:
    result = make_report([2_000_000, 4_000_000]).results[0]
    parts = result.stage_means()
    assert sum(parts.values()) == pytest.approx(3_000_000)
    assert parts["inference"] == pytest.approx(2_100_000)
    assert parts["other"] == pytest.approx(60_000)


def test_samples_of_a_process_are_told_turn_by_turn(make_report: MakeReport) -> None:
    process = make_report([1, 2, 3, 4, 5, 6], frames=12).results[0].replicates[0]
    assert process.by_turn("latency") == [[1, 2, 3, 4, 5], [6, 1, 2, 3, 4], [5, 6]]
    gaps = dataclasses.replace(process, samples_ns={**process.samples_ns, "queue": (None, 7) * 6})
    assert gaps.by_turn("queue") == [[7, 7], [7, 7, 7], [7]]
    assert gaps.column("queue") == [7] * 6
    assert gaps.column("no such stage") == []
