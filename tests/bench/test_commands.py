"""`edgeinfer bench` as a user meets it: what goes where, and the exit codes."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx.parser
import pytest

from edgeinfer.cli import main as cli
from edgeinfer_bench import Report

DATA = Path(__file__).resolve().parents[2] / "edgeinfer/cli/demo_data"
DIGITS, CONVEYOR = str(DATA / "digits.onnx"), str(DATA / "conveyor.mp4")
QUICK = ["--frames", "24", "--warmup", "2", "--replicates", "1", "--no-operators"]
QUICK += ["--provider", "cpu", "--threads", "1"]
# A box that is disturbed makes a report INVALID, and that is right.
DONE = (0, 4)
Capture = pytest.CaptureFixture[str]


def bench(*arguments: str | Path, quick: Sequence[str] = QUICK) -> int:
    return cli.main(["bench", *map(str, arguments), *quick])


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four numbers that are looked up: a frame takes microseconds."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]>'
        "lookup (int64[1] i) => (float[1] y) <float[4] table = {1, 2, 3, 4}>"
        "{ y = Gather(table, i) }"
    )
    path = tmp_path / "table.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Sixty rows that are there."""
    np.savez(tmp_path / "rows.npz", i=np.arange(60).reshape(60, 1) % 4)
    return tmp_path / "rows.npz"


@pytest.fixture
def brittle(table: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Sixty rows, of which the 41st does not exist."""
    numbers = np.zeros((60, 1), np.int64)
    numbers[40] = 9
    np.savez(tmp_path / "brittle.npz", i=numbers)
    return table, tmp_path / "brittle.npz"


@pytest.mark.parametrize(
    ("scenario", "options", "headline"),
    [
        ("single", [], "p50 ms"),
        ("paced", ["--fps", "200", "--policy", "latest"], "age p50 ms"),
        ("offline", [], "frames/s"),
    ],
)
def test_every_scenario_is_measured_and_its_report_read_again(
    scenario: str, options: list[str], headline: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "report.json"
    assert bench(DIGITS, CONVEYOR, "--scenario", scenario, *options, "--report", path) in DONE
    captured = capsys.readouterr()
    assert headline in captured.out and f"wrote {path}" in captured.err
    (result,) = Report.load(path).results
    assert result.scenario == scenario
    assert result.frames + result.dropped == 24
    assert (read(path)["validity"]["verdict"] == "VALID") == ("VALID:" in captured.out.split())


def test_a_server_finds_the_rate_that_holds(
    table: Path, rows: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "report.json"
    options = ["--scenario", "server", "--target", "1000", "--report", path]
    assert bench(table, rows, *options) == 4
    captured = capsys.readouterr()
    assert "rates tried" in captured.out
    assert "takes 1,000 frames, and 24 were measured" in captured.err
    (result,) = Report.load(path).results
    assert 0 < result.arrival["rate"] < result.arrival["rate_failed"]
    assert result.arrival["target_ns"] == 1_000_000_000 and result.frames == 24


def test_a_target_that_no_rate_can_hold_ends_the_search(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "report.json"
    options = ["--scenario", "server", "--target", "0.001", "--report", path]
    assert bench(DIGITS, CONVEYOR, *options) == 4
    assert "no rate was found" in capsys.readouterr().err
    (result,) = Report.load(path).results
    assert result.arrival["rate"] == 0 and len(result.arrival["trials"]) == 1


@pytest.mark.slow
def test_two_processes_and_operators_are_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    quick = [option for option in QUICK if option != "--no-operators"] + ["--replicates", "2"]
    assert bench(DIGITS, CONVEYOR, "--report", path, quick=quick) in DONE
    (result,) = read(path)["results"]
    assert [len(one["samples_ns"]["at"]) for one in result["replicates"]] == [12, 12]
    assert any(row["op_type"] == "Conv" for row in result["operators"]["by_type"])


def test_stdout_holds_one_json_document_and_the_files_hold_the_same(
    tmp_path: Path, capsys: Capture
) -> None:
    endings = ("json", "csv", "md", "html", "svg")
    paths = [tmp_path / f"report.{ending}" for ending in endings]
    reports = [part for path in paths for part in ("--report", path)]
    assert bench(DIGITS, CONVEYOR, *reports, "--format", "json") in DONE
    captured = capsys.readouterr()
    assert json.loads(captured.out) == read(paths[0])
    assert [f"wrote {path}" in captured.err for path in paths] == [True] * 5
    assert all(path.stat().st_size > 100 for path in paths)


def test_a_report_that_cannot_be_written_costs_neither_the_others_nor_the_summary(
    table: Path, rows: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The system lets no file grow beyond 4 KiB, as a disk that is full."""
    large, small = tmp_path / "large.json", tmp_path / "small.csv"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert bench(table, rows, "--report", large, "--report", small) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    captured = capsys.readouterr()
    assert f"Cannot write {large}" in captured.err and f"wrote {small}" in captured.err
    assert small.exists() and not large.exists()
    assert "p50 ms" in captured.out


def test_an_invalid_benchmark_is_written_all_the_same(tmp_path: Path, capsys: Capture) -> None:
    """Ten frames state no median."""
    path = tmp_path / "report.json"
    few = [*QUICK, "--frames", "10"]
    assert bench(DIGITS, CONVEYOR, "--report", path, "--format", "json", quick=few) == 4
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["validity"]["verdict"] == read(path)["validity"]["verdict"] == "INVALID"
    assert "INVALID" in captured.err and "10 frames are too few" in captured.err
    assert document["results"][0]["frames"] == 10


def test_a_rate_that_the_box_cannot_hold_is_invalid_and_says_so(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "report.json"
    options = ["--scenario", "paced", "--fps", "8000", "--report", path]
    assert bench(DIGITS, CONVEYOR, *options) == 4
    assert "the box cannot hold 8000 frames/s" in capsys.readouterr().err
    assert read(path)["results"][0]["dropped"] > 0


def test_a_model_that_fails_half_way_keeps_what_was_measured(
    brittle: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "report.json"
    options = [*QUICK, "--frames", "200"]
    assert bench(*brittle, "--report", path, quick=options) == 4
    captured = capsys.readouterr()
    assert "failed after 38 frames" in captured.err and "out of" in captured.err
    assert "Traceback" not in captured.err
    (result,) = Report.load(path).results
    assert result.frames == 38 and len(result.replicates) == 1


def test_a_model_that_fails_before_the_first_frame_is_an_expected_failure(
    brittle: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "report.json"
    assert bench(*brittle, "--report", path, quick=["--warmup", "50", "--frames", "20"]) == 1
    captured = capsys.readouterr()
    assert "Gather" in captured.err and captured.out == "" and not path.exists()


def test_a_source_shorter_than_the_warm_up_is_read_again_and_the_report_says_so(
    tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 80 * number, np.uint8))
    path = tmp_path / "report.json"
    options = [*QUICK, "--warmup", "10"]
    assert bench(DIGITS, folder, "--report", path, quick=options) in DONE
    assert "shown 12 times" in capsys.readouterr().out
    result = read(path)["results"][0]
    assert (result["frames"], result["warmup_frames"]) == (24, 10)
    assert result["source"]["kept"] == 3


@pytest.mark.slow
def test_another_model_and_a_peer_take_turns_with_the_first(
    tmp_path: Path, capsys: Capture
) -> None:
    other, path = tmp_path / "other.onnx", tmp_path / "report.json"
    shutil.copy(DIGITS, other)
    options = ["--against", other, "--peer", "onnxruntime", "--report", path]
    assert bench(DIGITS, CONVEYOR, *options) in DONE
    assert "time ratio" in capsys.readouterr().out
    results = read(path)["results"]
    assert [one["label"] for one in results] == ["digits", "other", "onnxruntime"]
    assert len({one["block"] for one in results}) == 1
    assert results[2]["peer"]["agreement"]["same"] == 32


def test_several_providers_become_a_table(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    options = [*QUICK, "--provider", "auto"]
    assert bench(DIGITS, CONVEYOR, "--report", path, quick=options) in DONE
    labels = [one["label"] for one in read(path)["results"]]
    assert labels == ["digits cpu", "digits auto"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--scenario", "singel"], 2, "Did you mean 'single'"),
        (["--scenario", "paced", "--policy", "lastest"], 2, "'latest'"),
        (["--peer", "onnxrutime"], 2, "Did you mean 'onnxruntime'"),
        (["--provider", "cud"], 2, "Did you mean 'cuda'"),
        (["--precision", "int9"], 2, "no variant in int9"),
        (["--fps", "30"], 2, "fps is for the scenario paced"),
        (["--fps", "1"], 2, "fps is for the scenario paced"),
        (["--streams", "2"], 2, "streams is for the scenario paced"),
        (["--policy", "all"], 2, "policy is for the scenario paced"),
        (["--deadline", "1"], 2, "deadline is for the scenario paced"),
        (["--target", "1"], 2, "target is for the scenario server"),
        (["--scenario", "server", "--fps", "30"], 2, "fps is for the scenario paced"),
        (["--scenario", "offline", "--peer", "onnxruntime"], 2, "'single', not 'offline'"),
        (["--scenario", "paced", "--fps", "0"], 2, "--fps"),
        (["--frames", "0"], 2, "--frames"),
        (["--duration", "nan"], 2, "duration"),
        (["--replicates", "0"], 2, "--replicates"),
        (["--frames", "many"], 2, "--frames"),
        (["--format", "xml"], 2, "xml"),
        (["--report", "{tmp}/r.docx"], 2, "docx"),
        (["--report", "{tmp}/none/r.html"], 1, "none"),
        (["other.mp4"], 2, "2 were given"),
        (["{tmp}/second.onnx"], 1, "second.onnx does not exist"),
        (["--against", "{tmp}/second.onnx"], 1, "second.onnx does not exist"),
        (["--provider", "cuda"], 1, "cuda"),
    ],
)
def test_what_cannot_be_measured_gets_one_message_and_the_right_exit_code(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: Capture
) -> None:
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert bench(DIGITS, CONVEYOR, *given, quick=["--no-operators"]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err and captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--spec", "--labels"])
def test_what_is_read_is_never_written_over(option: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{}")
    assert bench(DIGITS, CONVEYOR, option, path, "--report", path) == 2
    assert "name another" in capsys.readouterr().err
    assert path.read_text() == "{}"


@pytest.mark.parametrize("source", ["{tmp}/none.mp4", "{tmp}/none/*.png", "{tmp}/empty"])
def test_a_source_that_gives_no_frame_is_an_expected_failure(
    source: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "empty").mkdir()
    assert bench(DIGITS, source.replace("{tmp}", str(tmp_path))) == 1
    captured = capsys.readouterr()
    assert str(tmp_path) in captured.err and captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_report_of_bench_can_be_compared_with_itself(tmp_path: Path, capsys: Capture) -> None:
    """One process is too few to say anything, and that is what is said."""
    path = tmp_path / "report.json"
    assert bench(DIGITS, CONVEYOR, "--report", path) in DONE
    capsys.readouterr()
    assert cli.main(["compare", str(path), str(path), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "incomparable"
    assert found["reason"].startswith(("replicates:", "validity:"))
