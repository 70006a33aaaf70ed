"""Models measured in real children: what they answer, and what becomes of those that break."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeinfer_bench
from edgeinfer import cache
from edgeinfer.errors import ModelFileError, ProviderError, SourceError, UsageError
from edgeinfer.model import LoadOptions
from edgeinfer.testing import FakeClock, StubModel, StubSource
from edgeinfer.timing import LATENCY_STAGES
from edgeinfer_bench import BenchOptions, Interrupted, Report
from edgeinfer_bench.api import Cell, bench_cells
from edgeinfer_bench.entries import entry_for
from edgeinfer_bench.harness import Contestant, run
from edgeinfer_bench.hosted import Hosted, Job
from edgeinfer_bench.order import Order
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.testing import SLOWER, slower
from edgeinfer_bench.writers.json import json_text

DATA = Path(__file__).resolve().parents[2] / "edgeinfer/cli/demo_data"
DIGITS, CONVEYOR = DATA / "digits.onnx", DATA / "conveyor.mp4"
ON_CPU = LoadOptions(provider="cpu", threads=1)
FAILS_AT = 60


def job(wrap: str | None = None, **fields: Any) -> Job:
    """The digits on their video, few frames of it; a fault of `edgeinfer_bench.testing`."""
    planted = None if wrap is None else f"edgeinfer_bench.testing:{wrap}"
    given = {"path": DIGITS, "source": str(CONVEYOR), "options": ON_CPU, "warmup": 3}
    return Job(**{**given, "wrap": planted, "most_frames": 8, **fields})


def contestant(label: str, wrap: str | None = None, **fields: Any) -> Contestant:
    return Contestant(label, lambda: Hosted(job(wrap, **fields)))


def measured(*contestants: Contestant, **options: Any) -> Report:
    given = {"frames": 30, "warmup": 3, "replicates": 1, **options}
    return run(contestants, BenchOptions(**given), command="edgeinfer bench")


@pytest.fixture(scope="module")
def hosted() -> Iterator[Hosted]:
    """A child that is open and warm."""
    with closing(Hosted(job())) as process:
        process.open()
        yield process


def test_a_child_says_what_it_opened() -> None:
    with closing(Hosted(job())) as process:
        opened = process.open()
    assert opened.about["provider"] == "cpu" and opened.about["plan"]["threads"] == 1
    assert opened.about["model"]["path"] == str(DIGITS)
    assert (opened.source["name"], opened.source["kept"]) == ("conveyor.mp4", 8)
    assert opened.fps and opened.lanes == 1 and opened.opening_ns > 0
    assert len(opened.warmup_samples_ns["latency"]) == 3 and opened.settled is None


def at_once(scenario: str, **fields: Any) -> BenchResult:
    """The digits on two threads, paced so that one inference after another cannot keep up."""
    options = BenchOptions(scenario, frames=60, replicates=1, warmup=3, **fields)
    opening = LoadOptions(provider="cpu", threads=2, lanes=2)
    report = bench_cells(
        [Cell("d", DIGITS, opening)],
        str(CONVEYOR),
        bench_options=options,
        operators=False,
        most_frames=8,
        command="x",
    )
    assert not any("failed" in reason for reason in report.validity.reasons)
    said = [note for note in report.validity.notes if "2 inferences at once" in note]
    assert bool(said) == (scenario == "single")
    return report.results[0]


@pytest.mark.parametrize(
    ("scenario", "fields"), [("paced", {"fps": 5000, "policy": "all"}), ("offline", {})]
)
def test_as_many_inferences_run_at_once_as_the_lanes_that_the_report_states(
    scenario: str, fields: dict[str, Any]
) -> None:
    result = at_once(scenario, **fields)
    assert result.arrival["lanes"] == result.about["plan"]["lanes"] == 2
    columns = result.samples_ns
    # A frame that begins before the one before it is answered has a lane of its own.
    spans = sorted(zip(columns["at"], columns["latency"], strict=True))
    overlaps = [after[0] < at + (took or 0) for (at, took), after in itertools.pairwise(spans)]
    assert sum(overlaps) > len(overlaps) / 2


def test_one_frame_after_another_is_one_lane_and_a_note_says_what_the_others_cost() -> None:
    assert at_once("single").arrival == {"lanes": 1}


def test_frames_back_to_back_come_with_all_their_stages(hosted: Hosted) -> None:
    turn = hosted.measure(Order(frames=12, discard=2))
    assert turn.frames == turn.offered == 12 and turn.error is None
    columns = turn.samples_ns
    assert {"at", "latency", "age", "preprocess", "inference", "postprocess"} <= set(columns)
    for row in range(12):
        assert (columns["age"][row] or 0) >= (columns["latency"][row] or 0)
        stages = sum(columns[name][row] or 0 for name in LATENCY_STAGES if name in columns)
        assert 0 < stages <= (columns["latency"][row] or 0)
    assert turn.elapsed_ns >= sum(value or 0 for value in columns["latency"])
    assert turn.cpu_ns > 0
    assert list(columns["at"]) == sorted(value or 0 for value in columns["at"])


def test_frames_that_arrive_by_themselves_are_answered_in_their_order(hosted: Hosted) -> None:
    order = Order(kind="open-loop", frames=12, interval_ns=1_000_000, streams=2)
    turn = hosted.measure(order)
    assert turn.frames == turn.offered == 12
    assert sorted(set(turn.streams)) == [0, 1] and len(turn.streams) == 12
    pairs = zip(turn.samples_ns["age"], turn.samples_ns["latency"], strict=True)
    assert all((age or 0) >= (latency or 0) for age, latency in pairs)


def test_a_child_looks_at_its_outputs_at_the_end(hosted: Hosted) -> None:
    hosted.measure(Order(frames=20))
    evidence = hosted.finish().evidence
    assert evidence["outputs_compared"] > 0 and evidence["outputs_changed"] == 0
    assert evidence["fallback"] is False
    assert len(evidence["fresh_ns"]) == len(evidence["again_ns"]) > 0
    assert evidence["source_loops"] > 0 and evidence["source_whole"] is False


def test_a_child_ends_with_the_harness_and_leaves_nothing() -> None:
    process = Hosted(job())
    process.open()
    assert process._remote is not None
    child = process._remote._child
    folder = Path(child._folder.name)
    process.close()
    process.close()
    assert child.process.returncode is not None and not folder.exists()


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"path": Path("none.onnx")}, ModelFileError, "none.onnx"),
        ({"source": "none.mp4"}, SourceError, "none.mp4"),
        ({"options": LoadOptions(provider="cuda")}, ProviderError, "cuda"),
        ({"options": LoadOptions(provider="cud")}, UsageError, "Did you mean 'cuda'"),
    ],
)
def test_what_a_child_raises_is_raised_here(
    fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    with closing(Hosted(job(**fields))) as process, pytest.raises(error, match=said):
        process.open()


def test_pictures_have_no_rate_of_their_own() -> None:
    with closing(Hosted(job(source=str(DATA / "calibration")))) as process:
        assert process.open().fps is None


def test_names_are_understood_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children work in folders of their own."""
    monkeypatch.chdir(DATA)
    with closing(Hosted(job(path=Path("digits.onnx"), source="conveyor.mp4"))) as process:
        assert process.open().about["model"]["path"] == str(DIGITS)
    told = job(path=Path("digits.onnx"), source="calibration/*.png").to_dict()
    assert told["source"] == str(DATA / "calibration/*.png")
    assert Path(told["cache"]) == cache.root().parent


@pytest.mark.parametrize(
    "source", ["synthetic:64x48", "camera:0", "rtsp://box/stream", "gst:videotestsrc", None]
)
def test_what_is_no_file_stays_as_it_is(source: str | None) -> None:
    assert job(source=source).to_dict()["source"] == source


def test_a_file_that_looks_like_a_scheme_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camera:0").touch()
    assert job(source="camera:0").to_dict()["source"] == os.path.join(str(tmp_path), "camera:0")


def test_without_a_source_the_video_that_ships_is_shown() -> None:
    entry = entry_for(DIGITS, None, ON_CPU)
    model = entry.open_model()
    source = entry.open_source(model)
    frame = next(source)
    name = source.info.name
    source.close()
    model.close()
    assert name == "conveyor.mp4"
    assert isinstance(frame.data, np.ndarray) and frame.data.std() > 0  # never all zeros


def test_operators_are_timed_in_a_process_of_their_own() -> None:
    with closing(Hosted(job())) as process:
        found = process.operators(2)
    assert any(row["op_type"] == "Conv" for row in found["by_type"])
    assert found["kernel_ns"] > 0


def rows(result: BenchResult) -> int:
    return len(result.samples_ns["latency"])


def test_replicates_are_fresh_processes_that_share_the_frames() -> None:
    (result,) = measured(contestant("digits"), frames=25, replicates=2).results
    assert [one.frames for one in result.replicates] == [13, 12]
    assert [len(one.warmup_samples_ns["latency"]) for one in result.replicates] == [3, 3]
    first, second = result.replicates
    assert second.began_ns > first.began_ns + first.elapsed_ns
    assert all(one.opening_ns > 0 and one.first_frame_ns for one in result.replicates)


def test_models_in_turns_are_asked_for_the_same_frames() -> None:
    report = measured(contestant("a"), contestant("b"), frames=24, replicates=1)
    assert [rows(result) for result in report.results] == [24, 24]
    assert len({result.block for result in report.results}) == 1
    (a,), (b,) = (result.replicates for result in report.results)
    assert len(a.turns) == len(b.turns) > 1


def test_the_planted_slowdown_is_as_large_as_it_says(clock: FakeClock) -> None:
    model = StubModel(clock, [1_000_000])
    frame = next(StubSource(clock, 1))
    plain, slow = model.lane().predict(frame), slower(model).lane().predict(frame)
    assert slow.latency_ns - plain.latency_ns == round(SLOWER * plain.latency_ns) == 30_000
    before, after = plain.stages_ns["inference"], slow.stages_ns["inference"]
    assert after is not None and before is not None and after - before == 30_000


def test_a_model_that_fails_half_way_keeps_what_was_measured() -> None:
    report = measured(contestant("digits", "failing"), frames=200, replicates=2)
    (result,) = report.results
    assert rows(result) == FAILS_AT - 1 - 3
    assert len(result.replicates) == 1
    assert any("failed after 56 frames" in why and "planted" in why for why in reasons(report))


def test_a_model_that_fails_in_company_ends_the_run_for_all() -> None:
    report = measured(contestant("whole"), contestant("broken", "failing"), frames=200)
    whole, broken = report.results
    assert 0 < rows(broken) < 60 and 0 < rows(whole) < 80
    assert [why.partition(":")[0] for why in reasons(report) if "failed" in why] == ["broken"]


def test_a_process_that_dies_keeps_the_turns_before() -> None:
    report = measured(contestant("whole"), contestant("dead", "dying"), frames=200, block=5)
    dead = report.results[1]
    assert rows(dead) > 0 and rows(dead) % 5 == 0
    assert any("dead: it failed" in why and "SIGKILL" in why for why in reasons(report))


def test_a_model_that_fails_while_it_warms_up_is_an_error() -> None:
    with pytest.raises(ProviderError, match="planted"):
        measured(contestant("digits", "failing", warmup=FAILS_AT))


def test_partial_results_are_written_and_read_again(tmp_path: Path) -> None:
    report = measured(contestant("digits", "dying"), frames=200)
    path = tmp_path / "report.json"
    path.write_text(json_text(report))
    again = Report.load(path)
    assert again.to_dict() == report.to_dict()
    assert not again.valid


def reasons(report: Report) -> Sequence[str]:
    return report.validity.reasons


def test_an_interrupted_run_has_what_was_measured_marked_invalid() -> None:
    """Ctrl-C after the first process."""

    def stop(share: float) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    cells = [Cell("digits", DIGITS, ON_CPU)]
    options = BenchOptions(frames=40, warmup=2, replicates=2)
    with pytest.raises(Interrupted) as stopped:
        bench_cells(cells, None, bench_options=options, command="x", progress=stop)
    report = stopped.value.report
    assert 20 <= rows(report.results[0]) < 40
    assert "interrupted" in reasons(report)[0]


def test_an_interrupt_before_anything_was_measured_has_no_report() -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    options = BenchOptions(frames=40, warmup=2, replicates=1)
    with pytest.raises(KeyboardInterrupt) as stopped:
        bench_cells(
            [Cell("d", DIGITS, ON_CPU)], None, bench_options=options, command="x", progress=stop
        )
    assert not isinstance(stopped.value, Interrupted)


def test_a_file_that_is_replaced_during_the_run_makes_it_invalid(tmp_path: Path) -> None:
    path = tmp_path / "digits.onnx"
    shutil.copy(DIGITS, path)

    def replace_once(share: float) -> None:
        if share >= 0.5 and path.read_bytes() == DIGITS.read_bytes():
            model = onnx.load(path)
            model.doc_string = "another one"
            onnx.save(model, tmp_path / "new.onnx")
            (tmp_path / "new.onnx").replace(path)

    report = bench_cells(
        [Cell("d", path, ON_CPU)],
        None,
        bench_options=BenchOptions(frames=40, warmup=2, replicates=2),
        operators=False,
        most_frames=8,
        command="x",
        progress=replace_once,
    )
    hashes = [str(one.evidence["model_sha256"]) for one in report.results[0].replicates]
    (reason,) = [reason for reason in report.validity.reasons if "replaced" in reason]
    assert all(value[:12] in reason for value in hashes) and len(set(hashes)) == 2


def test_the_public_function_takes_what_the_interface_says() -> None:
    report = edgeinfer_bench.bench(
        DIGITS, CONVEYOR, scenario="paced", fps=100, frames=20, replicates=1, operators=False
    )
    (result,) = report.results
    assert result.arrival["fps"] == 100.0
    measuring = "--scenario paced --fps 100 --frames 20 --replicates 1"
    assert report.command == f"edgeinfer bench {DIGITS} {CONVEYOR} {measuring}"
    assert result.headline == "age" and rows(result) + result.dropped == 20


RUN_KEYS = {
    *("schema", "model", "provider", "provider_impl", "device", "compute_precision"),
    *("requested_provider", "skipped_providers", "placement", "frames", "warmup_frames"),
    *("dropped", "fps", "latency_ns", "age_ns", "stages_ns", "plan", "flags"),
}


def test_a_result_has_the_keys_that_outside_programs_rely_on() -> None:
    report = measured(contestant("digits"))
    document = json.loads(json_text(report))
    assert {"schema", "command", "machine", "versions", "validity", "results"} <= set(document)
    (result,) = document["results"]
    assert set(result) >= RUN_KEYS and result["schema"] == "edgeinfer.run/1"
    model = {"path", "sha256", "requested_sha256", "task", "head", "precision"}
    assert set(result["model"]) >= model
    assert set(result["latency_ns"]) >= {"n", "mean", "p50", "p90", "p95", "p99", "max"}
    assert result["latency_ns"]["n"] == result["frames"] == 30
    assert result["latency_ns"]["p99"] is None  # thirty frames do not state it
    assert set(result["stages_ns"]) >= {"preprocess", "inference", "postprocess"}
    assert set(result["plan"]) >= {"source", "threads", "sessions", "preprocess"}
    assert result["placement"]["providers"]["cpu"]["op_types"]
    assert set(document["validity"]) == {"verdict", "reasons", "notes", "evidence"}
