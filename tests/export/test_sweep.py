"""Other input sizes: exact ones are made and measured, others refused."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer.cli.main import main
from edgeinfer.errors import CheckFailed, ModelFileError, SinkError, SpecError, UsageError
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, open_model
from edgeinfer_export.gate import speed
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.steps.staging import PREFIX
from edgeinfer_export.sweep import Point, export_at, frontier, parse_sizes, sweep, timing, work

pytestmark = pytest.mark.slow

# Which of two colours is brighter, anywhere on the picture: right at every size.
CLASSIFIER = """
<ir_version: 8, opset_import: ["" : 17]>
classifier (float[1, 3, 32, 32] images) => (float[1, 2] scores) {
  cells = Conv <strides = [4, 4]> (images, stem_w, stem_b)
  bright = Relu (cells)
  mixed = Conv (bright, mix_w, mix_b)
  seen = Relu (mixed)
  pooled = GlobalAveragePool (seen)
  flat = Flatten (pooled)
  scores = Gemm <transB = 1> (flat, last_w, last_b)
}
"""
SPEC = {
    "task": "classify",
    "head": "logits",
    "labels": ["blue", "red"],
    "inputs": [{"name": "images", "size_hw": [32, 32], "color": "rgb", "resize": "stretch"}],
}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    stem = np.zeros((4, 3, 4, 4), np.float32)
    stem[0, 0], stem[1, 2], stem[2:] = 1 / 16, 1 / 16, 0.01
    weights = {
        "stem_w": stem,
        "stem_b": np.zeros(4, np.float32),
        "mix_w": np.eye(4, dtype=np.float32)[:, :, None, None],
        "mix_b": np.zeros(4, np.float32),
        "last_w": np.array([[-9, 9, 0.1, 0], [9, -9, 0, 0.1]], np.float32),
        "last_b": np.zeros(2, np.float32),
    }
    model = onnx.parser.parse_model(CLASSIFIER)
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items())
    model.metadata_props.add(key="edgeinfer.spec", value=json.dumps(SPEC))
    onnx.save(model, str(tmp_path / "classifier.onnx"))
    return tmp_path / "classifier.onnx"


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for label, channel in (("blue", 0), ("red", 2)):
        folder = tmp_path / "classes" / label
        folder.mkdir(parents=True)
        for at in range(8):
            picture = random.integers(0, 60, (48, 48, 3), np.uint8)
            picture[..., channel] += 100
            assert cv2.imwrite(str(folder / f"{at}.png"), picture)
    return tmp_path / "classes"


def test_sizes_are_read_as_people_write_them() -> None:
    assert parse_sizes("320, 416,320") == ((320, 320), (416, 416))
    assert parse_sizes("480x640") == ((480, 640),)
    for text in ("", "320,", "0", "3x4x5", "-1", "big"):
        with pytest.raises(UsageError, match="320,416,640"):
            parse_sizes(text)


def test_a_sweep_measures_every_size_in_both_precisions(
    classifier: Path, classes: Path, tmp_path: Path
) -> None:
    options = ExportOptions(precision="int8", calibration=classes, validation=str(classes))
    swept = sweep(classifier, tmp_path / "out.onnx", parse_sizes("16,64"), options)
    assert [point.name for point in swept.points] == ["16 fp32", "16 int8", "64 fp32", "64 int8"]
    assert (swept.metric, [point.accuracy for point in swept.points]) == ("top1", [1.0] * 4)
    assert all(point.p50_ns for point in swept.points)
    # All are equally good, so only the fastest is on the frontier.
    fastest = min(swept.points, key=lambda point: point.p50_ns or 0)
    assert [point.name for point in swept.points if point.best] == [fastest.name]
    for point in swept.points:
        assert point.path is not None
        assert point.sha256 == hashlib.sha256(point.path.read_bytes()).hexdigest()
        with open_model(point.path, LoadOptions(provider="cpu", use_plan=False)) as model:
            assert model.spec.inputs[0].size_hw == point.size_hw
            assert model.spec.precision == point.precision
            assert model.graph_inputs[0].shape == (1, 3, *point.size_hw)
    report = json.loads((tmp_path / "out.sweep.json").read_text())
    assert report == json.loads(json.dumps(swept.to_dict()))
    assert [point["frontier"] for point in report["points"]].count(True) == 1
    drawn = ElementTree.parse(tmp_path / "out.sweep.svg").getroot()
    texts = {element.text for element in drawn.iter() if element.tag.endswith("text")}
    assert {"16 fp32", "64 int8", "top1"} <= texts
    assert sum(element.tag.endswith("circle") for element in drawn.iter()) == 4


SWEPT = [
    *("out-16-fp32.golden.npz", "out-16-fp32.onnx", "out-64-fp32.golden.npz", "out-64-fp32.onnx"),
    *("out.sweep.json", "out.sweep.svg"),
]


def older(tmp_path: Path) -> Path:
    """A folder with what an older sweep left."""
    folder = tmp_path / "swept"
    folder.mkdir()
    for name in SWEPT:
        (folder / name).write_text("older")
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["prepare", "time_models", "plot_of"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (FULL, SinkError),
        (ModelFileError("that size"), ModelFileError),
    ],
)
def test_a_sweep_that_does_not_end_leaves_the_older_one_as_it_was(
    classifier: Path,
    classes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    folder = older(tmp_path)
    before = read(folder)
    real, calls = getattr(work, step), []

    def failing(*given: Any) -> Any:
        calls.append(step)
        # Of the sizes the first goes well.
        if len(calls) == (2 if step == "prepare" else 1):
            raise error
        return real(*given)

    monkeypatch.setattr(work, step, failing)
    with pytest.raises(raised):
        sweep(
            *(classifier, folder / "out.onnx", parse_sizes("16,64")),
            ExportOptions(validation=str(classes)),
        )
    assert read(folder) == before
    assert not list(folder.glob(f"{PREFIX}*"))


def test_a_sweep_replaces_an_older_one_as_a_whole_and_links_stay(
    classifier: Path, classes: Path, tmp_path: Path
) -> None:
    folder = older(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for name in ("out-64-fp32.onnx", "out.sweep.json"):
        (folder / name).rename(tmp_path / "elsewhere" / name)
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    options = ExportOptions(validation=str(classes), golden=False)
    swept = sweep(classifier, folder / "out.onnx", parse_sizes("16,64"), options)
    # Vectors of older files are gone with them.
    assert sorted(read(folder)) == [
        *("out-16-fp32.onnx", "out-64-fp32.golden.npz", "out-64-fp32.onnx"),
        *("out.sweep.json", "out.sweep.svg"),
    ]
    assert sorted(read(tmp_path / "elsewhere")) == ["out-64-fp32.onnx", "out.sweep.json"]
    assert (folder / "out-64-fp32.onnx").is_symlink()
    for point in swept.points:
        assert point.path is not None
        assert point.sha256 == hashlib.sha256(point.path.read_bytes()).hexdigest()
    assert swept.to_dict() == json.loads((folder / "out.sweep.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_whenever_a_sweep_is_ended_all_files_are_of_one_sweep(
    classifier: Path, classes: Path, tmp_path: Path, how: signal.Signals
) -> None:
    folder = older(tmp_path)
    before = read(folder)
    command = [sys.executable, "-m", "edgeinfer", "export", str(classifier)]
    command += ["-o", str(folder / "out.onnx"), "--input-size", "16,64"]
    command += ["--validation", str(classes)]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    whole_s = time.monotonic() - started
    moments, codes = random.Random(7), []
    for _ in range(6):
        for name, data in before.items():
            (folder / name).write_bytes(data)
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(moments.uniform(0.4, 1.05) * whole_s)
        process.send_signal(how)
        process.communicate(timeout=120)
        codes.append(process.returncode)
        kept = read(folder)
        assert sorted(kept) == SWEPT
        if kept != before:
            assert b"older" not in kept.values()
            for point in json.loads(kept["out.sweep.json"])["points"]:
                data = kept[Path(point["path"]).name]
                assert point["sha256"] == hashlib.sha256(data).hexdigest()
    assert any(code != 0 for code in codes)


def test_where_every_size_is_refused_nothing_appears(
    classifier: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*given: Any) -> Any:
        raise CheckFailed("it answers differently")

    monkeypatch.setattr(work, "prepare", refusing)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CheckFailed, match="No size.*16 fp32: it answers differently"):
        sweep(
            *(classifier, tmp_path / "out.onnx", parse_sizes("16,64")),
            ExportOptions(validation=str(classes)),
        )
    assert sorted(tmp_path.iterdir()) == before


def test_the_report_of_a_sweep_is_a_page(
    classifier: Path, classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    given = ["export", str(classifier), "-o", str(tmp_path / "out.onnx"), "--report", str(page)]
    sized = ["--input-size", "16,64", "--validation", str(classes)]
    assert main([*given, *sized]) == 0, capsys.readouterr().err
    text = page.read_text()
    assert "| size | precision | top1 | latency p50 | file |" in text
    assert f"`{tmp_path / 'out-16-fp32.onnx'}`" in text
    assert text.count(" * | fp32 | 1 | ") >= 1


def test_one_size_is_an_export_at_that_size(classifier: Path, tmp_path: Path) -> None:
    done = export_at(classifier, tmp_path / "out.onnx", (24, 40), ExportOptions())
    model = onnx.load(str(done.output))
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, 3, 24, 40]
    assert done.parity["outputs"]["scores"]["max"] == 0.0
    assert done.spec.inputs[0].size_hw == (24, 40)
    assert done.provenance["options"]["input_size"] == "24x40"


def test_a_graph_that_holds_on_to_its_size_is_refused_by_name(
    source: Path, labelled: Path, tmp_path: Path
) -> None:
    # The detector's grid of 64 cells is written into its graph.
    options = ExportOptions(validation=str(labelled))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SpecError, match=r"pictures of 64x64.*holds on.*Reshape.*--input-shape"):
        sweep(source, tmp_path / "out.onnx", parse_sizes("32,64"), options)
    assert sorted(tmp_path.iterdir()) == before


def test_a_fixed_target_size_is_refused_though_it_would_run(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 3, 32, 32] images) => (float[1, 3, 8, 8] y) {
          y = Resize <mode = "linear"> (images, , , sizes)
        }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3, 8, 8]), "sizes"))
    spec = {**SPEC, "task": "tensor", "head": "tensor", "labels": []}
    model.metadata_props.add(key="edgeinfer.spec", value=json.dumps(spec))
    onnx.save(model, str(tmp_path / "fixed.onnx"))
    with pytest.raises(SpecError, match="Resize"):
        export_at(tmp_path / "fixed.onnx", tmp_path / "out.onnx", (64, 64), ExportOptions())


def test_open_sizes_are_closed_at_each_size(classifier: Path, tmp_path: Path) -> None:
    model = onnx.load(str(classifier))
    for at, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[at].dim_param = name
    onnx.save(model, str(tmp_path / "open.onnx"))
    done = export_at(tmp_path / "open.onnx", tmp_path / "out.onnx", (48, 48), ExportOptions())
    dims = onnx.load(str(done.output)).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 3, 48, 48]


def test_a_sweep_without_labels_or_for_another_box_is_refused(
    classifier: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = dataclasses.replace(this_machine(), architecture="x86_64")
    monkeypatch.setattr(timing, "this_machine", lambda: box)
    with pytest.raises(UsageError, match="--validation"):
        sweep(classifier, tmp_path / "out.onnx", parse_sizes("16,32"), ExportOptions())
    options = ExportOptions(
        precision="int8", target="arm", calibration=classes, validation=str(classes)
    )
    with pytest.raises(UsageError, match="--target arm does not fit"):
        sweep(classifier, tmp_path / "out.onnx", parse_sizes("16,32"), options)


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
@pytest.mark.parametrize("known", [True, False], ids=["known before", "found out"])
def test_without_the_targets_provider_the_cpu_is_timed_and_that_is_said(
    classifier: Path,
    classes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
    known: bool,
) -> None:
    real, asked = speed.race_files, []

    def without(files: dict[str, Path], dataset: str, provider: str) -> speed.Speed:
        asked.append(provider)
        if provider == target:
            raise ModelFileError("It lacks a library.")
        return real(files, dataset, provider)

    why = "it lacks a library" if known else None
    for module in (speed, timing):
        monkeypatch.setattr(module, "why_untimed", lambda target: why)
    monkeypatch.setattr(timing, "race_files", without)
    page = tmp_path / "page.md"
    given = ["export", str(classifier), "-o", str(tmp_path / "out.onnx"), "--report", str(page)]
    given += ["--input-size", "16,32", "--precision", "int8", "--target", target]
    assert main([*given, "--calibration", str(classes), "--validation", str(classes)]) == 0
    assert asked == (["cpu"] if known else [target, "cpu"])
    out, err = capsys.readouterr()
    for text in (err, page.read_text(), (tmp_path / "out.sweep.json").read_text()):
        told = f"provider cpu, which says little about {target}"
        assert told in text and "lacks a library" in text
    report = json.loads((tmp_path / "out.sweep.json").read_text())
    assert report["provider"] == "cpu"
    assert all(point["p50_ns"] for point in report["points"])
    assert "on cpu, " in out and "(on cpu, " in page.read_text()
    # The files themselves stay what they were made for.
    metadata = onnx.load(str(tmp_path / "out-16-int8.onnx")).metadata_props
    spec = json.loads({entry.key: entry.value for entry in metadata}["edgeinfer.spec"])
    assert spec["target"] == target


def test_the_targets_provider_is_timed_where_it_is(
    classifier: Path,
    classes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raced: list[tuple[str, list[str]]] = []

    def race(files: dict[str, Path], dataset: str, provider: str) -> speed.Speed:
        raced.append((provider, [path.name for path in files.values()]))
        return speed.Speed(dict.fromkeys(files, 1_000_000), {}, 2, 7, provider)

    monkeypatch.setattr(timing, "why_untimed", lambda target: None)
    monkeypatch.setattr(timing, "race_files", race)
    options = ExportOptions(
        precision="int8", target="openvino", calibration=classes, validation=str(classes)
    )
    told: list[str] = []
    swept = sweep(classifier, tmp_path / "out.onnx", parse_sizes("16"), options, say=told.append)
    assert raced == [("openvino", ["out-16-fp32.onnx", "out-16-int8.onnx"])]
    assert (swept.provider, told) == ("openvino", [])
    assert any("measured on openvino" in note for note in swept.notes)
    assert "frame latency on openvino" in swept.plot.read_text()


def test_the_frontier_is_what_nobody_beats() -> None:
    def point(accuracy: float | None, p50_ns: int) -> Point:
        return Point((1, 1), "fp32", None, accuracy, p50_ns)

    points = [point(0.5, 10), point(0.6, 20), point(0.55, 30), point(None, 1), point(0.5, 15)]
    assert [one.best for one in frontier(points)] == [True, True, False, False, False]
