"""The command line as a user meets it: what goes where, and the exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from edgeinfer import __version__
from edgeinfer.cli import main as cli
from edgeinfer.cli.demo import DATA

MakeModel = Callable[..., Path]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "bright.png"
    cv2.imwrite(str(path), np.full((20, 30, 3), 240, np.uint8))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """30 frames, the first half dark, the second half bright."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for index in range(30):
        writer.write(np.full((48, 64, 3), 20 if index < 15 else 235, np.uint8))
    writer.release()
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_picture_becomes_a_line_of_json_and_an_annotated_picture(
    brightness_model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, drawn = tmp_path / "out.jsonl", tmp_path / "drawn.png"
    arguments = ["--json", str(out), "--output", str(drawn)]
    assert cli.main(["run", str(brightness_model), str(picture), *arguments]) == 0
    (line,) = lines(out)
    assert line["schema"] == "edgeinfer.frame/1"
    assert (line["source"], line["frame"], line["size_wh"]) == ("bright.png", 0, [30, 20])
    assert line["classes"][0]["label"] == "bright"
    assert line["stages_ns"]["draw"] > 0
    assert cv2.imread(str(drawn)).shape == (20, 30, 3)
    assert "bright.png #0: bright" in capsys.readouterr().out


def test_every_frame_of_a_video_is_counted_in_order(
    brightness_model: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, drawn = tmp_path / "out.jsonl", tmp_path / "drawn.mp4"
    code = cli.main(
        ["run", str(brightness_model), str(video), "--json", str(out), "--output", str(drawn)]
        + ["--format", "json"]
    )
    assert code == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["schema"] == "edgeinfer.run/1"
    assert (summary["frames"], summary["dropped"]) == (30, 0)
    assert summary["latency_ns"]["n"] == 30
    assert summary["latency_ns"]["p50"] is not None
    assert summary["latency_ns"]["p99"] is None
    assert summary["placement"]["providers"]["cpu"]["nodes"] >= 3
    found = lines(out)
    assert [line["frame"] for line in found] == list(range(30))
    best = [line["classes"][0]["label"] for line in found]
    assert best == ["dark"] * 15 + ["bright"] * 15
    capture = cv2.VideoCapture(str(drawn))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == 30


def test_frames_and_stride_choose_frames(
    brightness_model: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["--stride", "4", "--frames", "5", "--json", str(out)]
    assert cli.main(["run", str(brightness_model), str(video), *arguments]) == 0
    assert [line["frame"] for line in lines(out)] == [0, 4, 8, 12, 16]


def test_json_lines_go_to_stdout_and_nothing_else_does(
    brightness_model: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(brightness_model), str(picture), "--json", "-"]) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert json.loads(line)["task"] == "classify"
    assert "1 frames" in captured.err


def test_several_sources_are_read_in_turn(
    brightness_model: Path, picture: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    arguments = [str(picture), str(video), str(picture), "--json", str(out)]
    assert cli.main(["run", str(brightness_model), *arguments]) == 0
    names = [line["source"] for line in lines(out)]
    assert names == ["bright.png", *["clip.avi"] * 30, "bright.png"]


def test_synthetic_frames_stop_after_a_while(
    brightness_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(brightness_model), "synthetic", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames"] == 100
    assert "--frames" in captured.err


def test_synthetic_frames_of_a_model_of_two_pictures_bring_both(
    make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model(
        "two (float[1,3,8,8] a, float[1,3,8,8] b) => (float[1,3,8,8] c) { c = Sub(a, b) }"
    )
    out = tmp_path / "out.jsonl"
    arguments = ["synthetic", "--frames", "2", "--task", "tensor", "--json", str(out)]
    assert cli.main(["run", str(model), *arguments]) == 0
    assert [line["outputs"]["c"]["shape"] for line in lines(out)] == [[1, 3, 8, 8]] * 2


def test_a_broken_picture_stops_or_is_skipped(
    brightness_model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(picture.read_bytes())
    (folder / "b.png").write_bytes(b"no picture at all")
    out = tmp_path / "out.jsonl"
    command = ["run", str(brightness_model), str(folder), "--json", str(out)]
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert "b.png" in said and "--on-error skip" in said
    assert [line["source"] for line in lines(out)] == ["a.png"]
    assert cli.main([*command, "--on-error", "skip"]) == 1
    assert "--on-error" not in capsys.readouterr().err + out.read_text()
    names = [line.get("source") for line in lines(out) if "error" not in line]
    assert names == ["a.png", "c.png"]
    assert sum("error" in line for line in lines(out)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rnu"], 2, "Did you mean 'run'"),
        (["run"], 2, "Missing argument"),
        (["run", "{model}", "{picture}", "--porvider", "cpu"], 2, "--porvider"),
        (["run", "{model}", "{picture}", "--provider", "cud"], 2, "Did you mean 'cuda'"),
        (["run", "{model}", "{picture}", "--provider", "cuda"], 1, "cannot run here"),
        (["run", "{model}", "{picture}", "--head", "softmx"], 2, "Did you mean 'softmax'"),
        (["run", "{model}", "{picture}", "--head", "yolov8"], 1, "does not fit"),
        (["run", "{model}", "{picture}", "--labels", "{tmp}/none.txt"], 1, "does not exist"),
        (["run", "{model}", "{picture}", "--labels", "{one_label}"], 1, "2 classes"),
        (["run", "{model}", "{picture}", "--classes", "brigt"], 2, "Did you mean 'bright'"),
        (["run", "{model}", "{picture}", "--threads", "0"], 2, "--threads"),
        (["run", "{model}", "{picture}", "--input-shape", "8x8"], 2, "NAME:1x3x640x640"),
        (["run", "{model}", "{picture}", "--input-shape", "nix:1x3x8x8"], 2, "no input 'nix'"),
        (["run", "{model}", "{picture}", "--provider-option", "a"], 2, "KEY=VALUE"),
        (["run", "{model}", "{picture}", "--json", "-", "--format", "json"], 2, "stdout"),
        (["run", "{model}", "{picture}", "--json", "{tmp}/no/o.jsonl"], 1, "mkdir -p"),
        (["run", "{model}", "{picture}", "--output", "{tmp}/o.xyz"], 2, "'.xyz'"),
        (["run", "{model}", "{picture}", "--output", "{tmp}/no/o.png"], 1, "mkdir -p"),
        (["run", "{tmp}/none.onnx", "{picture}"], 1, "does not exist"),
        (["run", "{model}", "{tmp}/none.png"], 1, "does not exist"),
        (["run", "{model}", "{one_label}"], 1, "one.txt"),
        (["run", "{picture}", "{picture}"], 1, "PNG picture"),
        (["run", "{model}", "{fake_video}"], 1, "fake.mp4"),
        (["inspect", "{empty}"], 1, "is empty"),
        (["bench", "{model}", "--scenario", "singel"], 2, "single"),
        (["bench", "{model}", "--report", "{tmp}/r.docx"], 2, "docx"),
        (["bench", "{model}", "--report", "{tmp}/no/r.html"], 1, "no"),
        (["validate", "{model}", "{tmp}/none"], 1, "none"),
        (["export", "{model}", "-o", "{tmp}/o.onnx", "--precision", "int8"], 2, "--calibration"),
        (["export", "{model}", "-o", "{tmp}/o.onnx", "--precision", "int9"], 2, "int8"),
        # What a shell makes of a variable that nobody set.
        (["run", "", "{picture}"], 2, "empty"),
        (["run", "{model}", "{picture}", "--output", ""], 2, "empty"),
        (["run", "{model}", "{picture}", "--classes", ""], 2, "names no class"),
        (["validate", "{model}", ""], 2, "''"),
        (["export", "", "-o", "{tmp}/o.onnx"], 2, "empty"),
        (["run", ".", "{picture}"], 1, "is a folder"),
        (["run", "/", "{picture}"], 1, "is a folder"),
        (["export", ".", "-o", "{tmp}/o.onnx"], 1, "no model"),
    ],
)
def test_bad_input_gets_one_message_and_the_right_exit_code(
    arguments: list[str],
    code: int,
    said: str,
    brightness_model: Path,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one_label, empty, fake = tmp_path / "one.txt", tmp_path / "empty.onnx", tmp_path / "fake.mp4"
    one_label.write_text("one\n")
    empty.write_bytes(b"")
    fake.write_bytes(b"<html>no video</html>" * 50)
    before = sorted(tmp_path.iterdir())
    places = {
        "{model}": brightness_model,
        "{picture}": picture,
        "{tmp}": tmp_path,
        "{one_label}": one_label,
        "{empty}": empty,
        "{fake_video}": fake,
    }
    for key, path in places.items():
        arguments = [argument.replace(key, str(path)) for argument in arguments]
    assert cli.main(arguments) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", ["--output", "--json"])
def test_what_is_read_is_never_written(
    option: str, brightness_model: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (picture, brightness_model, *([picture.parent] if option == "--output" else [])):
        source = picture.parent if target == picture.parent else picture
        before = picture.read_bytes()
        assert cli.main(["run", str(brightness_model), str(source), option, str(target)]) == 2
        assert "name another" in capsys.readouterr().err
        assert picture.read_bytes() == before


@pytest.mark.parametrize("option", ["--labels", "--spec"])
def test_what_describes_the_model_is_never_written(
    option: str, brightness_model: Path, picture: Path, tmp_path: Path
) -> None:
    path = tmp_path / "description"
    path.write_text("a\nb\n")
    arguments = [option, str(path), "--json", str(path)]
    assert cli.main(["run", str(brightness_model), str(picture), *arguments]) == 2
    assert path.read_text() == "a\nb\n"


def test_pictures_are_not_drawn_over_their_sources(
    brightness_model: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = picture.read_bytes()
    for source in (picture, picture.parent / "*.png"):
        arguments = ["--output", str(picture.parent)]
        assert cli.main(["run", str(brightness_model), str(source), *arguments]) == 2
        assert "name another" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_a_failed_run_leaves_older_files_alone(brightness_model: Path, tmp_path: Path) -> None:
    old, broken = tmp_path / "out.jsonl", tmp_path / "broken.png"
    old.write_text("old\n")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert cli.main(["run", str(brightness_model), str(broken), "--json", str(old)]) == 1
    assert old.read_text() == "old\n"


def test_a_bug_is_exit_code_3(monkeypatch: pytest.MonkeyPatch, brightness_model: Path) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("edgeinfer.describe.describe_model", fail)
    assert cli.main(["inspect", str(brightness_model)]) == 3


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_inspect_tells_what_a_model_is(
    brightness_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(brightness_model), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "edgeinfer.model/1"
    assert found["inputs"] == [{"name": "images", "dtype": "float32", "shape": [1, 3, 8, 8]}]
    assert found["spec"]["labels"] == ["bright", "dark"]
    assert (found["spec_source"], found["precision"], found["opset"]) == ("edgeinfer", "fp32", 13)
    assert found["op_types"]["Gemm"] == 1
    assert cli.main(["inspect", str(brightness_model)]) == 0
    assert "head logits" in capsys.readouterr().out


def test_inspect_describes_a_model_that_nobody_understands(
    make_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_model(
        "net (float[1, 3, 64, 64] x) => (float[1, 84, 6] y)"
        "{ y = ConstantOfShape <value = float[1] {0.0}> (s) }".replace(
            "{ y", "<int64[3] s = {1, 84, 6}> { y"
        )
    )
    assert cli.main(["inspect", str(path), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec"] is None
    assert "end2end and yolox" in found["warnings"][0]


def test_providers_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["providers", "--format", "json"]) == 0
    found = {item["name"]: item for item in json.loads(capsys.readouterr().out)["providers"]}
    assert found["cpu"]["available"]
    assert "onnxruntime" in found["cuda"]["reason"]


def test_bench_writes_every_kind_of_report(
    brightness_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"report.{ending}" for ending in ("json", "csv", "md", "html", "svg")]
    reports = [part for path in paths for part in ("--report", str(path))]
    measuring = ["--frames", "60", "--warmup", "3", "--replicates", "2"]
    code = cli.main(["bench", str(brightness_model), *measuring, *reports])
    captured = capsys.readouterr()
    assert code in (0, 4), captured.err
    assert "p50" in captured.out
    replicates = json.loads(paths[0].read_text())["results"][0]["replicates"]
    assert [len(one["samples_ns"]["latency"]) for one in replicates] == [30, 30]
    assert [len(one["warmup_samples_ns"]["latency"]) for one in replicates] == [3, 3]
    assert all(path.stat().st_size > 100 for path in paths)


def started(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeinfer", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def endless(model: Path, folder: Path) -> tuple[subprocess.Popen[str], Path, Path]:
    """A run that has written 200 results and would go on."""
    drawn, out = folder / "drawn.mp4", folder / "out.jsonl"
    process = started(
        ["run", str(model), "synthetic:320x240", "--frames", "1000000"]
        + ["--json", str(out), "--output", str(drawn)]
    )
    pause = threading.Event()
    while not (out.exists() and out.read_text().count("\n") > 200) and process.poll() is None:
        pause.wait(0.05)
    return process, drawn, out


def frames_of(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_an_ended_run_leaves_whole_files(
    sent: signal.Signals, code: int, brightness_model: Path, tmp_path: Path
) -> None:
    process, drawn, out = endless(brightness_model, tmp_path)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    results = lines(out)
    assert [line["frame"] for line in results] == list(range(len(results)))
    assert frames_of(drawn) == len(results) > 200


def test_ctrl_c_in_the_middle_of_a_long_inference_is_no_crash(tmp_path: Path) -> None:
    """A real model, so that threads are inside ONNX Runtime when the signal comes."""
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        process, _, _ = endless(DATA / "digits.onnx", folder)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "terminate called" not in errors


def test_a_killed_run_leaves_what_plays(brightness_model: Path, tmp_path: Path) -> None:
    process, drawn, out = endless(brightness_model, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert len([json.loads(line) for line in out.read_text().splitlines()[:-1]]) >= 200
    assert frames_of(drawn) > 100


@pytest.mark.parametrize("lines_or_text", [["--json", "-"], []])
def test_a_reader_that_goes_away_is_no_failure(
    lines_or_text: list[str], brightness_model: Path, picture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number}.png").symlink_to(picture)
    process = started(["run", str(brightness_model), str(folder), *lines_or_text])
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_json_lines_for_a_closed_stdout_are_refused(brightness_model: Path, picture: Path) -> None:
    arguments = ["run", str(brightness_model), str(picture), "--json", "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "edgeinfer", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "stdout, which is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_file_takes_the_place_of_a_closed_stdout(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    code = (
        "import ctypes, sys\n"
        "from edgeinfer.cli.start import fill_gaps\n"
        "fill_gaps()\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    ctypes.CDLL(None).puts(b'noise')\n"
        "    ctypes.CDLL(None).fflush(None)\n"
        "    file.write('ours')\n"
    )
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code, str(kept)]
    subprocess.run(command, check=True)
    assert kept.read_text() == "ours"


def test_what_libraries_print_is_no_result(tmp_path: Path) -> None:
    code = (
        "import ctypes\n"
        "from edgeinfer.cli.start import keep_stdout\n"
        "keep_stdout()\n"
        "print('ours')\n"
        "ctypes.CDLL(None).puts(b'noise')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ours\n"
    assert done.stderr == "noise\n"


def shell(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run edgeinfer with arguments, redirected as the text says."""
    command = ["sh", "-c", f'exec "$@" {text}', "sh", sys.executable, "-m", "edgeinfer"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("more", [[], ["--format", "json"], ["--json", "-"]])
def test_a_full_disk_behind_stdout_is_an_error_without_a_traceback(
    brightness_model: Path, picture: Path, more: list[str]
) -> None:
    done = shell(">/dev/full", "run", brightness_model, picture, *more)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("redirect", [">", ">>"])
def test_a_disk_that_fills_up_behind_stdout_leaves_whole_lines(
    brightness_model: Path, redirect: str, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk."""
    (tmp_path / "out.jsonl").write_text("{}\n")
    script = f'ulimit -f 4; out=$1; shift; exec "$@" {redirect}"$out"'
    run = [sys.executable, "-m", "edgeinfer", "run", str(brightness_model)]
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(tmp_path / "out.jsonl"), *run]
        + ["synthetic:40x30", "--frames", "50", "--json", "-"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "cannot be written" in done.stderr, done.stderr
    text = (tmp_path / "out.jsonl").read_text()
    assert text.endswith("}\n") and len(text) <= 2048
    lines = [json.loads(line) for line in text.splitlines()]
    assert redirect == ">" or lines.pop(0) == {}
    assert lines and [line["frame"] for line in lines] == list(range(len(lines)))


def test_nothing_but_results_reaches_stdout_where_stderr_is_closed(
    make_model: Callable[..., Path], picture: Path
) -> None:
    body = "y = ReduceMax <keepdims = 0, axes = [2, 3]> (x)"
    model = make_model(f"net (float[1, 3, 8, 8] x) => (float[1, 3] y) {{ {body} }}")
    done = shell("2>&-", "run", model, picture, "--json", "-")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["task"] == "classify"


@pytest.mark.parametrize("log", [">/dev/full", "| true"])
def test_a_log_that_takes_nothing_ends_no_run(
    brightness_model: Path, picture: Path, log: str, tmp_path: Path
) -> None:
    broken, lines = tmp_path / "broken.png", tmp_path / "out.jsonl"
    broken.write_bytes(picture.read_bytes()[:60])
    text = f"2>&1 >/dev/null {log}" if "|" in log else f"2{log}"
    sources = [broken, picture, broken, picture]
    shell(text, "run", brightness_model, *sources, "--on-error", "skip", "--json", lines)
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert ["error" in line for line in told] == [True, False, True, False]


def test_stdout_by_its_path_is_stdout(brightness_model: Path, picture: Path) -> None:
    done = shell("", "run", brightness_model, picture, "--json", "/dev/stdout")
    assert json.loads(done.stdout)["schema"] == "edgeinfer.frame/1"


@pytest.mark.parametrize("option", [None, "--json", "--output", "--labels", "--spec"])
def test_a_name_that_is_too_long_is_no_bug(
    brightness_model: Path,
    picture: Path,
    option: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = str(tmp_path / ("x" * 300 + ".png"))
    arguments = [name] if option is None else [str(picture), option, name]
    assert cli.main(["run", str(brightness_model), *arguments]) == 1
    assert "too long" in capsys.readouterr().err
    assert cli.main(["run", name, str(picture)]) == 1
    assert "too long" in capsys.readouterr().err


@pytest.mark.parametrize("option", [None, "--json", "--output", "--labels", "--spec"])
@pytest.mark.parametrize("refused", ["a folder that may not be entered", "a circle of links"])
def test_what_pathlib_cannot_look_up_is_no_bug(
    brightness_model: Path,
    picture: Path,
    option: str | None,
    refused: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = tmp_path / "name"
    if refused == "a circle of links":
        name.symlink_to(name)
    else:
        forbid(monkeypatch, name)
    arguments = [str(name)] if option is None else [str(picture), option, str(name)]
    assert cli.main(["run", str(brightness_model), *arguments]) == 1
    said = capsys.readouterr().err
    assert str(name) in said
    assert "Traceback" not in said


def test_a_model_that_may_not_be_read_is_a_failure_and_no_usage(
    brightness_model: Path,
    picture: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    assert cli.main(["inspect", str(brightness_model)]) == 1
    assert "Permission denied" in capsys.readouterr().err


def refuse(*_: object, **__: object) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "what was asked for")


def forbid(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let looking up a path fail as it does below a folder that may not be entered: the user root,
    who runs these tests at times, may enter any."""
    stat = os.stat

    def looked_up(name: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if not isinstance(name, int) and os.fspath(name) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(name, *arguments, **more)

    monkeypatch.setattr(os, "stat", looked_up)
    # Python 3.10 keeps the function that it found when it was imported.
    monkeypatch.setattr(Path, "stat", looked_up)


def test_a_label_that_stdout_cannot_say_is_escaped(
    brightness_model: Path, picture: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("d\u00fcster\nhell\u00fc\n", encoding="utf-8")
    command = [sys.executable, "-m", "edgeinfer", "run", brightness_model, picture]
    done = subprocess.run(
        [*map(str, command), "--labels", str(labels)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert b"\\xfc" in done.stdout


def test_a_source_that_cannot_be_read_is_skipped_in_first_place_too(
    brightness_model: Path, picture: Path, video: Path, tmp_path: Path
) -> None:
    broken, out = tmp_path / "broken.avi", tmp_path / "out.jsonl"
    broken.write_bytes(video.read_bytes()[:600])
    sources = [str(broken), str(picture)]
    run = ["run", str(brightness_model), *sources, "--json", str(out)]
    assert cli.main([*run, "--on-error", "skip"]) == 1
    first, second = lines(out)
    assert first["source"] == "broken.avi" and "broken.avi" in first["error"]
    assert second["source"] == "bright.png" and "classes" in second
    assert cli.main(run) == 1


def test_an_output_holds_what_is_asked_for(
    brightness_model: Path, video: Path, tmp_path: Path
) -> None:
    run = ["run", str(brightness_model), str(video), "--output"]
    assert cli.main([*run, str(tmp_path / "one.jpg"), "--frames", "1"]) == 0
    assert cv2.imread(str(tmp_path / "one.jpg")).shape == (48, 64, 3)
    assert cli.main([*run, str(tmp_path / "one.mp4"), "--stride", "30"]) == 0
    assert cv2.VideoCapture(str(tmp_path / "one.mp4")).read()[0]
    assert cli.main([*run, str(tmp_path / "many.jpg")]) == 2


# No box has room for such a stack, so that no thread can start.
_NO_THREADS = "import threading; threading.stack_size(1 << 46); "


def test_a_box_that_allows_no_thread_is_no_bug(brightness_model: Path) -> None:
    code = f"{_NO_THREADS}from edgeinfer.cli.main import main; raise SystemExit(main())"
    arguments = ["run", str(brightness_model), "synthetic:32x32"]
    told = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert told.returncode == 1
    assert "no further thread" in told.stderr
    assert "Traceback" not in told.stderr


def test_frames_of_a_video_that_all_fail_do_not_fill_the_log(
    make_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(
        """
        moody (float[1, 3, 8, 8] images) => (float[1, 2] logits)
        <int64[2] shape = {1, 2}, int64[1] one = {1}, int64[1] two = {2}, float half = {0.5}>
        {
          mean = ReduceMean <keepdims = 0> (images)
          bright = Greater (mean, half)
          more = Cast <to = 7> (bright)
          several = Reshape (more, one)
          count = Add (several, two)
          zeros = ConstantOfShape (count)
          logits = Reshape (zeros, shape)
        }
        """
    )
    white = tmp_path / "white.avi"
    writer = cv2.VideoWriter(str(white), cv2.VideoWriter.fourcc(*"MJPG"), 25, (16, 16))
    for _ in range(150):
        writer.write(np.full((16, 16, 3), 255, np.uint8))
    writer.release()
    out = tmp_path / "out.jsonl"
    options = ["--task", "classify", "--head", "logits", "--on-error", "skip", "--json", str(out)]
    assert cli.main(["run", str(model), str(white), *options]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert [line.split(":")[1] for line in told] == [
        f" skipped white.avi #{index}" for index in (*range(10), 99)
    ]
    assert "100 were skipped so far" in told[-1]
    assert sum("error" in line for line in lines(out)) == 150
