"""`edgeinfer export` as a user types it: exit codes, what is written, what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgeinfer_export
from edgeinfer.errors import UsageError
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.paths import check_reports
from edgeinfer_export.sweep import sweep


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-m", "edgeinfer", "export", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_a_gate_that_holds_reports_metric_speed_and_what_stayed_in_float(
    source: Path, pictures: Path, labelled: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    common = [source, "-o", output, "--precision", "int8", "--calibration", pictures]
    done = run(*common, "--validation", labelled, "--max-drop", "1%")
    assert done.returncode == 0, done.stderr
    for said in (
        "kept in float: 7 nodes of the head",
        "map50_95 on data.yaml (val): 0.00% lost, 1.00% allowed (1 attempt measured)",
        "frame latency on this box",
        "thread(s), in turns: source",
    ):
        assert said in done.stdout
    assert "only 8 calibration samples" in done.stderr


def test_a_gate_that_says_no_exits_with_4_and_leaves_the_old_file(
    tmp_path: Path, pictures: Path
) -> None:
    # Nothing can keep a budget of nothing: every narrowed number is a little off.
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 8] x) => (float[1, 8] y) { h = MatMul (x, a) r = Relu (h) y = MatMul (r, b) }"""
    )
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        values = random.normal(size=(8, 8)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, str(tmp_path / "net.onnx"))
    np.savez(tmp_path / "c.npz", random.normal(size=(40, 8)).astype(np.float32))
    output = tmp_path / "out.onnx"
    output.write_bytes(b"the older file")
    options = ["--task", "tensor", "--calibration", tmp_path / "c.npz", "--max-drop", "0"]
    done = run(tmp_path / "net.onnx", "-o", output, "--precision", "int8-dynamic", *options)
    assert done.returncode == 4, done.stderr
    assert "at best" in done.stderr
    assert "was not written" in done.stderr
    assert output.read_bytes() == b"the older file"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "c.npz",
        "net.onnx",
        "out.onnx",
    ]


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (["--input-size", "big"], 2, "320,416,640"),
        (["--input-size", "32,64"], 2, "--validation"),
        (["--input-size", "64"], 1, "holds on to the size"),
        (["--precision", "fp61"], 2, "Did you mean 'fp16'"),
        (["--precision", "int8", "--calibration-method", "entropie"], 2, "Did you mean 'entropy'"),
        (["--max-drop", "1%"], 2, "--validation DATA"),
    ],
)
def test_what_cannot_work_exits_with_the_right_code(
    source: Path, tmp_path: Path, options: list[str], code: int, why: str
) -> None:
    done = run(source, "-o", tmp_path / "out.onnx", *options)
    assert done.returncode == code, done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_the_report_is_one_json_document(source: Path, tmp_path: Path, pictures: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ["--precision", "fp16", "--calibration", pictures, "--report", report]
    arguments += ["--report", tmp_path / "report.md", "--target", "arm"]
    arguments += ["--calibration-method", "entropy"]
    done = run(source, "-o", tmp_path / "out.onnx", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads(report.read_text())
    assert (tmp_path / "report.md").read_text().startswith("# ")
    assert "the target arm counts for INT8 only" in done.stderr
    assert "the calibration method entropy counts for --precision int8 only" in done.stderr
    assert (document["precision"], document["target"]) == ("fp16", None)
    assert {one["role"]: one["precision"] for one in document["variants"]} == {
        "source": "fp32",
        "output": "fp16",
    }
    assert set(document["speed"]) == {"p50_ns", "ratios", "threads", "rounds", "provider"}


@pytest.mark.parametrize("over", ["detector.onnx", "out.onnx", "out.golden.npz", "spec.json"])
def test_a_report_is_not_written_over_what_is_read_or_written_besides(
    over: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    spec = ["--spec", tmp_path / "spec.json"]
    done = run(source, "-o", tmp_path / "out.onnx", *spec, "--report", tmp_path / over)
    assert (done.returncode, done.stdout) == (2, "")
    assert over in done.stderr and "another name" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_report_is_not_written_over_data_but_over_an_earlier_report(
    source: Path, pictures: Path, labelled: Path, tmp_path: Path
) -> None:
    options = ExportOptions(calibration=pictures, validation=str(labelled))
    report = pictures / "report.json"
    report.write_text('{"provenance": {}}')
    outputs = [tmp_path / "out.onnx"]
    check_reports([report, tmp_path / "new.md"], source, outputs, options)
    for path in (pictures / "0.png", labelled):
        with pytest.raises(UsageError, match=path.name):
            check_reports([path], source, outputs, options)
    with pytest.raises(UsageError, match="twice"):
        check_reports([report, report], source, outputs, options)


def test_an_output_is_not_written_over_what_is_read_besides_the_source(
    source: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.onnx"
    labels.write_text("blue\ngreen\nred\n")
    with pytest.raises(UsageError, match="is read by this export"):
        edgeinfer_export.export(source, labels, labels=labels)
    assert labels.read_text().startswith("blue")


def test_a_sweep_is_not_written_over_its_source(
    source: Path, labelled: Path, tmp_path: Path
) -> None:
    named = source.rename(tmp_path / "out-32-fp32.onnx")
    options = ExportOptions(validation=str(labelled))
    with pytest.raises(UsageError, match="is the source itself"):
        sweep(named, tmp_path / "out.onnx", [(32, 32), (64, 64)], options)
