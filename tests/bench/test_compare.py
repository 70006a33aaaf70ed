"""Two reports, one verdict: planted differences are found, and what is not alike is refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer_bench
from edgeinfer.cli import main as cli
from edgeinfer.errors import ReportError
from edgeinfer_bench.comparison import VERDICTS, Comparison, compare, why_incomparable
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.writers.json import json_text

MakeReport = Callable[..., Report]
FRAMES = 1000


def noisy(seed: int, factor: float = 1.0, spread: float = 0.02) -> list[int]:
    """Latencies around 10 ms."""
    random = np.random.default_rng(seed)
    return [int(10e6 * factor * (1 + spread * value)) for value in random.gamma(2, 1, FRAMES)]


@pytest.fixture
def measured(make_report: MakeReport) -> Callable[..., Report]:
    """A report that can be compared."""

    def make(*latencies_ns: Sequence[int], **options: Any) -> Report:
        return make_report(*latencies_ns, **{"frames": FRAMES, "replicates": 5, **options})

    return make


def with_results(report: Report, change: Callable[[BenchResult], BenchResult]) -> Report:
    return dataclasses.replace(report, results=tuple(map(change, report.results)))


def by_name(found: Comparison) -> dict[str, Any]:
    return {metric.name: metric for metric in found.metrics}


def test_a_report_is_the_same_as_itself(measured: Any) -> None:
    report = measured(noisy(1))
    found = compare(report, report)
    assert found.verdict == "same"
    assert by_name(found)["latency.p50"].ratio == 1.0
    assert not any(metric.significant for metric in found.metrics)


def test_two_runs_of_one_model_are_the_same(measured: Any) -> None:
    assert compare(measured(noisy(1)), measured(noisy(2))).verdict == "same"


@pytest.mark.parametrize(("factor", "verdict"), [(1.06, "slower"), (0.94, "faster")])
@pytest.mark.parametrize("scenario", ["single", "paced", "offline"])
def test_a_planted_difference_is_found(
    scenario: str, factor: float, verdict: str, measured: Any
) -> None:
    base = measured(noisy(1), scenario=scenario)
    new = measured(noisy(2, factor), scenario=scenario)
    if scenario == "offline":  # its rate is what the process took, not what a frame took
        new = with_results(new, lambda result: slowed(result, base.results[0], factor))
    found = compare(base, new)
    assert found.verdict == verdict
    assert f"{factor:.2f}" in found.reason or scenario == "paced"
    name = {"single": "latency.p50", "paced": "age.p50", "offline": "time_per_frame"}[scenario]
    assert found.reason.startswith(name)
    assert by_name(found)[name].ratio == pytest.approx(factor, abs=0.02)


def slowed(result: BenchResult, base: BenchResult, factor: float) -> BenchResult:
    """Every process took so much longer than in the other report, give or take a thousandth."""
    pairs = zip(result.replicates, base.replicates, strict=True)
    return dataclasses.replace(
        result,
        replicates=tuple(
            dataclasses.replace(one, elapsed_ns=round(other.elapsed_ns * factor * (1 + at / 1000)))
            for at, (one, other) in enumerate(pairs)
        ),
    )


def test_what_is_allowed_decides(measured: Any) -> None:
    base, new = measured(noisy(1)), measured(noisy(2, 1.06))
    assert compare(base, new, max_regression=0.10).verdict == "same"
    assert compare(base, new, max_regression=0.0).verdict == "slower"


def test_wide_intervals_are_inconclusive(measured: Any) -> None:
    """Processes that differ by more than what is asked for say nothing."""

    def moody(seed: int) -> list[int]:
        factors = np.random.default_rng(seed).uniform(0.8, 1.25, 5).repeat(FRAMES // 5)
        return [int(value * factor) for value, factor in zip(noisy(seed), factors, strict=True)]

    assert compare(measured(moody(1)), measured(moody(2))).verdict == "inconclusive"


def test_a_tail_that_is_surely_worse_counts(measured: Any) -> None:
    """Two frames in a hundred take three times as long: the median does not see that."""
    tail = noisy(2)
    tail[::50] = [3 * value for value in tail[::50]]
    found = compare(measured(noisy(1)), measured(tail))
    assert found.verdict == "slower"
    assert found.reason.startswith("latency.p99")
    assert not by_name(found)["latency.p50"].significant


def held(report: Report, rate: float, failed: float) -> Report:
    return with_results(
        report,
        lambda one: dataclasses.replace(
            one, arrival={**one.arrival, "rate": rate, "rate_failed": failed}
        ),
    )


@pytest.mark.parametrize(
    ("rate", "failed", "verdict"),
    [(100, 101, "same"), (80, 82, "slower"), (120, 123, "faster"), (95, 110, "inconclusive")],
)
def test_a_server_is_compared_by_the_rates_between_which_its_limit_lies(
    rate: float, failed: float, verdict: str, measured: Any
) -> None:
    base = held(measured(noisy(1), scenario="server"), 100, 101)
    found = compare(base, held(base, rate, failed))
    assert found.verdict == verdict
    metric = by_name(found)["time_per_frame"]
    assert metric.base == pytest.approx(1e9 / 100) and metric.new == pytest.approx(1e9 / rate)
    assert metric.ci95 == pytest.approx((100 / failed, 101 / rate))


def test_every_stage_and_percentile_is_listed(measured: Any) -> None:
    names = set(by_name(compare(measured(noisy(1)), measured(noisy(2)))))
    for column in ("latency", "preprocess", "inference", "postprocess"):
        assert {f"{column}.{name}" for name in ("mean", "p50", "p90", "p95", "p99")} <= names
    assert not any(name.startswith("age") for name in names)


def test_a_stage_that_takes_no_time_has_no_ratio(measured: Any) -> None:
    def idle(result: BenchResult) -> BenchResult:
        first, *rest = result.replicates
        zeros = tuple(0 for _ in first.samples_ns["latency"])
        first = dataclasses.replace(first, samples_ns={**first.samples_ns, "postprocess": zeros})
        return dataclasses.replace(result, replicates=(first, *rest))

    found = compare(measured(noisy(1)), with_results(measured(noisy(2)), idle))
    assert not any("postprocess" in metric.name for metric in found.metrics)
    assert found.verdict == "same"


def test_several_models_are_compared_by_label_and_the_worst_decides(measured: Any) -> None:
    base = measured(noisy(1), noisy(2))
    new = measured(noisy(3), noisy(4, 1.1))
    found = compare(base, new)
    assert found.verdict == "slower"
    assert found.reason.startswith("model1: latency.p50")
    assert "model0: latency.p50" in by_name(found)
    swapped = dataclasses.replace(new, results=new.results[::-1])
    assert compare(base, swapped).verdict == "slower"


def test_models_of_one_report_only_are_named(measured: Any) -> None:
    both = measured(noisy(1), noisy(2))
    first = dataclasses.replace(measured(noisy(3)), results=(both.results[0],))
    assert any("Only the first report holds model1" in note for note in compare(both, first).notes)
    assert any("Only the second report holds model1" in note for note in compare(first, both).notes)


def test_one_model_a_report_is_compared_whatever_it_is_called(measured: Any) -> None:
    new = with_results(measured(noisy(2)), lambda one: dataclasses.replace(one, label="other"))
    assert compare(measured(noisy(1)), new).verdict == "same"


Change = Callable[[Report], Report]


def of_result(**values: Any) -> Change:
    return lambda report: with_results(report, lambda one: dataclasses.replace(one, **values))


def of_arrival(**values: Any) -> Change:
    return lambda report: with_results(
        report, lambda one: dataclasses.replace(one, arrival={**one.arrival, **values})
    )


def of_source(**values: Any) -> Change:
    return lambda report: with_results(
        report, lambda one: dataclasses.replace(one, source={**one.source, **values})
    )


def of_machine(**values: Any) -> Change:
    return lambda report: dataclasses.replace(report, machine={**report.machine, **values})


def invalid(report: Report) -> Report:
    return dataclasses.replace(
        report, validity=dataclasses.replace(report.validity, reasons=("planted.",))
    )


def fewer_processes(report: Report) -> Report:
    return with_results(report, lambda one: dataclasses.replace(one, replicates=one.replicates[:4]))


@pytest.mark.parametrize(
    ("change", "about", "seen"),
    [
        (invalid, "validity:", "planted."),
        (of_machine(cpu="Another CPU"), "machines:", "Another CPU"),
        (of_machine(governor="powersave"), "machines:", "powersave"),
        (of_machine(memory_bytes=16 << 30), "machines:", "16.0"),
        (of_result(scenario="offline"), "scenarios:", "offline"),
        (of_arrival(fps=50.0), "scenarios: fps", "50.0"),
        (of_arrival(streams=4), "scenarios: streams", "4"),
        (of_arrival(policy="all"), "scenarios: policy", "all"),
        (of_arrival(deadline_ns=7), "scenarios: deadline_ns", "7"),
        (of_source(name="other.mp4"), "sources: the name", "other.mp4"),
        (of_source(size_wh=[640, 480]), "sources: the size_wh", "640"),
        (fewer_processes, "replicates:", "--against"),
    ],
)
def test_what_is_not_alike_is_refused_with_the_reason(
    change: Change, about: str, seen: str, measured: Any
) -> None:
    report = measured(noisy(1), scenario="paced")
    for found in (compare(report, change(report)), compare(change(report), report)):
        assert found.verdict == "incomparable"
        assert found.reason.startswith(about) and seen in found.reason
        assert found.metrics == () and found.rows() == []


def test_another_target_of_a_server_is_refused(measured: Any) -> None:
    report = measured(noisy(1), scenario="server")
    assert "target_ns" in compare(report, of_arrival(target_ns=5)(report)).reason


def test_labels_that_nobody_shares_are_refused(measured: Any) -> None:
    both = measured(noisy(1), noisy(2))
    others = with_results(both, lambda one: dataclasses.replace(one, label=f"{one.label}-b"))
    found = compare(both, others)
    assert found.verdict == "incomparable"
    assert "model0, model1" in found.reason and "model1-b" in found.reason


def test_samples_of_another_order_of_magnitude_are_refused(measured: Any) -> None:
    found = compare(measured(noisy(1)), measured(noisy(2), frames=99))
    assert found.verdict == "incomparable"
    assert "samples:" in found.reason and "1,000" in found.reason and "99" in found.reason


def test_too_few_samples_for_a_median_are_refused(measured: Any) -> None:
    few = measured(noisy(1), frames=10)
    found = compare(few, few)
    assert found.verdict == "incomparable" and found.reason.startswith("samples:")


def test_other_versions_providers_and_files_are_noted(measured: Any) -> None:
    base = measured(noisy(1))
    about = {**base.results[0].about, "provider": "openvino", "model": {"sha256": "other"}}
    new = dataclasses.replace(
        of_result(about=about)(base), versions={**base.versions, "onnxruntime": "1.31.0"}
    )
    notes = compare(base, new).notes
    assert any("onnxruntime was 1.30.0 and is 1.31.0" in note for note in notes)
    assert any("provider was cpu and is openvino" in note for note in notes)
    assert any("model files differ" in note for note in notes)


def test_the_json_form_is_what_outside_programs_rely_on(measured: Any) -> None:
    found = compare(measured(noisy(1)), measured(noisy(2, 1.1))).to_dict()
    assert {"verdict", "reason", "metrics"} <= set(found)
    assert found["verdict"] in VERDICTS and isinstance(found["reason"], str)
    for metric in found["metrics"]:
        assert {"name", "base", "new", "ratio", "ci95", "significant"} <= set(metric)
        low, high = metric["ci95"]
        assert 0 < low <= metric["ratio"] <= high
        assert metric["significant"] == (not low <= 1 <= high)
        assert type(metric["base"]) is int and type(metric["new"]) is int
    assert json.loads(json.dumps(found)) == found


# The command.


@pytest.fixture
def files(measured: Any, tmp_path: Path) -> Mapping[str, Path]:
    """Reports on disk: a base, the same again, a slower one, one that is INVALID."""
    base, slower = measured(noisy(1)), measured(noisy(2, 1.1))
    reports = {"base": base, "same": measured(noisy(3)), "slower": slower, "bad": invalid(base)}
    for name, report in reports.items():
        (tmp_path / f"{name}.json").write_text(json_text(report))
    return {name: tmp_path / f"{name}.json" for name in reports}


@pytest.mark.parametrize(
    ("new", "allowed", "code", "verdict"),
    [
        ("same", "3%", 0, "same"),
        ("slower", "3%", 4, "slower"),
        ("slower", "20%", 0, "same"),
        ("slower", "0.2", 0, "same"),
        ("slower", "0.03", 4, "slower"),
        ("slower", " 3 % ", 4, "slower"),
        ("bad", "3%", 1, "incomparable"),
    ],
)
def test_the_exit_code_tells_a_regression(
    new: str,
    allowed: str,
    code: int,
    verdict: str,
    files: Mapping[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["compare", str(files["base"]), str(files[new]), "--max-regression", allowed]
    assert cli.main([*arguments, "--format", "json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == verdict
    assert ("slower" in captured.err) == (code == 4)
    assert ("cannot be compared" in captured.err) == (verdict == "incomparable")


def test_the_base_is_slower_than_what_became_faster(
    files: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", str(files["slower"]), str(files["base"])]) == 0
    assert f"{files['base']}: faster" in capsys.readouterr().out


def test_people_get_a_table_and_the_verdict_last(
    files: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", str(files["base"]), str(files["slower"])]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert "95% interval" in lines[0]
    assert any(line.startswith("latency.p99") and "differs" in line for line in lines)
    assert lines[-1].startswith(f"{files['slower']}: slower: latency.p50 is 1.")


def test_several_new_reports_are_each_compared_with_the_base(
    files: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(files[name]) for name in ("base", "same", "slower")]
    assert cli.main(["compare", *paths, "--format", "json"]) == 4
    found = json.loads(capsys.readouterr().out)["comparisons"]
    assert [one["verdict"] for one in found] == ["same", "slower"]
    assert [one["new"] for one in found] == paths[1:]


@pytest.mark.parametrize("allowed", ["3 percent", "-1%", "nan", "inf%", "1000%", "%", "3%%", ""])
def test_a_share_that_is_none_is_refused(
    allowed: str, files: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", str(files["base"]), str(files["same"])]
    assert cli.main([*arguments, f"--max-regression={allowed}"]) == 2
    captured = capsys.readouterr()
    assert "3% or 0.03" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "cut off"),
        (lambda text: "", "cut off"),
        (lambda text: text.replace("edgeinfer.report/2", "edgeinfer.report/1"), "report/1"),
        (lambda text: "[1, 2]", "measure again"),
        (lambda text: "[" * 100_000, "cut off"),
        (lambda text: text.replace('"machine"', '"machina"'), "machine"),
        (lambda text: text.replace('"kernel"', '"colonel"'), "kernel"),
        (lambda text: text.replace('"samples_ns"', '"samples"'), "samples_ns"),
        (lambda text: text.replace('"began_ns": 5', '"began_ns": 1e999, "x": 5', 1), "damaged"),
        (None, "does not exist"),
    ],
)
def test_a_report_that_cannot_be_read_gets_one_clear_message(
    damage: Callable[[str], str] | None,
    said: str,
    files: Mapping[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "damaged.json"
    if damage is not None:
        bad.write_text(damage(files["base"].read_text()))
    for pair in ((files["base"], bad), (bad, files["base"])):
        assert cli.main(["compare", *map(str, pair), "--format", "json"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert said in captured.err and str(bad) in captured.err
        assert captured.err.count("\n") == 1 and "Traceback" not in captured.err


BAD_VALUES = (None, "x", [], {}, -1, [None], {"a": 1}, float("inf"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a document a value may be replaced; of lists, in their first item."""
    items = value.items() if isinstance(value, dict) else list(enumerate(value))[:1]
    return [
        place
        for key, inner in items
        for place in [(*path, key)]
        + (places(inner, (*path, key)) if isinstance(inner, (dict, list)) else [])
    ]


def test_no_value_of_a_report_can_bring_the_comparison_down(measured: Any) -> None:
    report = measured([1000], frames=20, full=True)
    document = report.to_dict()
    whole = json.dumps(document)
    for place in places(json.loads(whole)):
        for bad in BAD_VALUES:
            damaged = json.loads(whole)
            inner = damaged
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = bad
            assert understood(report, damaged), (place, bad)


def understood(report: Report, damaged: Mapping[str, Any]) -> bool:
    """Whether a document is refused as a report, or can be compared."""
    try:
        other = Report.from_dict(damaged)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return True
    return isinstance(why_incomparable(report, other), (str, type(None)))


def test_no_module_hides_a_public_name() -> None:
    """Importing a module binds its name in the package, and so would replace a function."""
    for name in edgeinfer_bench.__all__:
        assert importlib.util.find_spec(f"edgeinfer_bench.{name}") is None, name


def test_a_report_as_a_folder_is_an_expected_failure(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be read"):
        Report.load(tmp_path)
