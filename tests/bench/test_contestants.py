"""Peers beside a model of ours: who takes part, who cannot and why, and that answers agree."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

from edgeinfer.errors import ModelFileError, SourceError, UsageError
from edgeinfer.model import LoadOptions
from edgeinfer.results import Detections
from edgeinfer_bench import BenchOptions, Report
from edgeinfer_bench.api import Cell, bench_cells
from edgeinfer_bench.entries import entry_for
from edgeinfer_bench.order import Order
from edgeinfer_bench.peers.contestants import Field, PeerRig, gather
from edgeinfer_bench.peers.witness import MOST_FRAMES, Witness
from edgeinfer_bench.tables import summary_table

DATA = Path(__file__).resolve().parents[2] / "edgeinfer/cli/demo_data"
DIGITS, CONVEYOR = DATA / "digits.onnx", DATA / "conveyor.mp4"
ON_CPU = LoadOptions(provider="cpu", threads=1)
SHORT = BenchOptions(frames=24, warmup=3, block=6, replicates=1)
HERE = ("onnxruntime", "opencv-dnn")


def cell(path: Path = DIGITS, label: str = "digits") -> Cell:
    return Cell(label, path, ON_CPU)


def beside(field: Field, *cells: Cell, source: str | None = str(CONVEYOR)) -> Report:
    return bench_cells(
        cells or [cell()],
        source,
        bench_options=SHORT,
        operators=False,
        others=field.contestants,
        notes=field.notes,
        most_frames=field.most_frames,
        command="edgeinfer bench",
    )


def written(path: Path, text: str) -> Path:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 13]>\n' + text)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """ONNX Runtime and OpenCV DNN with the digits."""
    with closing(gather(HERE, cell(), str(CONVEYOR), SHORT)) as found:
        yield found


@pytest.fixture(scope="module")
def report(field: Field) -> Report:
    return beside(field)


@pytest.mark.slow
def test_peers_take_turns_with_the_model(report: Report) -> None:
    assert [result.label for result in report.results] == ["digits", *HERE]
    for result in report.results:
        assert result.block == 6 and result.scenario == "single"
        assert [one.turns for one in result.replicates] == [(6, 6, 6, 6)]
        assert {"preprocess", "inference", "postprocess"} <= set(result.samples_ns)


@pytest.mark.slow
def test_a_peer_says_what_it_is_and_how_far_it_agrees(report: Report) -> None:
    for name, result in zip(HERE, report.results[1:], strict=True):
        peer = result.about["peer"]
        assert peer["agreement"]["same"] == peer["agreement"]["frames"] == MOST_FRAMES
        assert result.about["provider"] == name and peer["version"]
        assert result.about["plan"]["threads"] == 1 and result.about["plan"]["source"] == "peer"
        assert result.about["model"]["sha256"] == report.results[0].about["model"]["sha256"]
        assert result.first_frame_ns and result.opening_ns > 0
    assert report.results[0].about["peer"] is None


@pytest.mark.slow
def test_peers_stand_in_the_summary_and_survive_the_file(report: Report) -> None:
    text = summary_table(report)
    assert "OpenCV DNN" in text and f"on {MOST_FRAMES} of {MOST_FRAMES} frames" in text
    assert Report.from_dict(report.to_dict()).to_dict() == report.to_dict()


@pytest.mark.slow
def test_everybody_gets_the_same_frames(field: Field, report: Report) -> None:
    assert field.folder is not None and field.most_frames == MOST_FRAMES
    folder = Path(field.folder.name)
    assert len(list(folder.glob("*.npy"))) == MOST_FRAMES
    sources = {(one.source["name"], one.source["kept"]) for one in report.results}
    assert sources == {("conveyor.mp4", MOST_FRAMES)}


def test_a_peer_is_measured_back_to_back_only(field: Field) -> None:
    with closing(field.contestants[0].start()) as rig:
        assert isinstance(rig, PeerRig)
        opened = rig.open()
        assert len(opened.warmup_samples_ns["latency"]) == 20 and opened.lanes == 1
        turn = rig.measure(Order(frames=3, discard=1))
        assert turn.frames == turn.offered == 3 and turn.elapsed_ns > 0
        for order in (Order(kind="open-loop", frames=3), Order(duration_ns=1)):
            with pytest.raises(UsageError, match="back to back"):
                rig.measure(order)
        assert rig.finish().about["provider"] == "onnxruntime"
    rig.close()


@pytest.mark.slow
def test_the_same_name_twice_is_two_results() -> None:
    """Of two peers that are called alike, or of a peer and a model."""
    with closing(gather(["onnxruntime"] * 2, cell(), str(CONVEYOR), SHORT)) as named:
        report = beside(named, cell(label="onnxruntime"))
    labels = ["onnxruntime", "onnxruntime (2)", "onnxruntime (3)"]
    assert [one.label for one in report.results] == labels
    assert [one.frames for one in report.results] == [24, 24, 24]


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (["onnxrutime"], SHORT, "Did you mean 'onnxruntime'"),
        (["onnxruntime"], BenchOptions(scenario="paced"), "'single', not 'paced'"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    names: list[str], options: BenchOptions, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        gather(names, cell(), str(CONVEYOR), options)


def test_a_model_that_edgeinfer_cannot_open_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        gather(["onnxruntime"], cell(tmp_path / "none.onnx"), None, SHORT)


def test_nobody_asked_is_nobody_started() -> None:
    found = gather([], cell(), str(CONVEYOR), SHORT)
    assert (found.contestants, found.notes, found.most_frames) == ((), (), None)


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    asked = [f"openvino={tmp_path}/bin/python", "onnxruntime"]
    with closing(gather(asked, cell(), str(CONVEYOR), SHORT)) as found:
        assert [one.label for one in found.contestants] == ["onnxruntime"]
        (note,) = found.notes
        assert note.startswith("OpenVINO could not take part") and str(tmp_path) in note


def test_a_peer_that_refuses_the_model_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """OpenCV DNN has no operators of ONNX Runtime's own domain."""
    path = tmp_path / "strange.onnx"
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>'
        "g (float[1, 8] x) => (float[1, 8] y) { y = com.microsoft.QuickGelu (x) }"
    )
    path.write_bytes(model.SerializeToString())
    with closing(gather(HERE, cell(path, "strange"), None, SHORT)) as found:
        assert [one.label for one in found.contestants] == ["onnxruntime"]
        assert found.notes[0].startswith("OpenCV DNN could not take part")
        report = beside(found, cell(path, "strange"), source=None)
    assert found.notes[0] in report.validity.notes
    assert report.results[1].about["flags"] == ["no-postprocess"]


def test_the_frames_are_removed_at_the_end_and_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = gather(["onnxruntime"], cell(), str(CONVEYOR), SHORT)
    assert list(tmp_path.glob("edgeinfer-peers-*"))
    found.close()
    found.close()
    with pytest.raises(SourceError):
        gather(["onnxruntime"], cell(), "none.mp4", SHORT)
    assert not list(tmp_path.iterdir())


# The witness, in this process.


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    with closing(Witness(entry_for(DIGITS, str(CONVEYOR), ON_CPU), tmp_path)) as found:
        yield found


def test_a_witness_writes_frames_and_says_what_a_peer_must_know(
    witness: Witness, tmp_path: Path
) -> None:
    about = witness.about()
    assert about["input_shape"][:2] == [1, 3] and about["threads"] == 1
    assert about["spec"]["head"] == "yolov8" and about["source"]["kept"] == MOST_FRAMES
    pictures = [np.load(tmp_path / f"{number}.npy") for number in range(MOST_FRAMES)]
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in pictures)
    assert (pictures[0] != pictures[-1]).any()


def test_a_witness_notices_wrong_answers(witness: Witness) -> None:
    nothing: list[dict[str, Any]] = [{"boxes": []}] * MOST_FRAMES
    found = witness.agree(nothing, "yolov8", "fp32")
    assert found["frames"] == MOST_FRAMES and found["same"] < MOST_FRAMES
    assert "different answers" in found["sentence"]
    assert witness.agree(nothing[:3], "yolov8", "fp32")["frames"] == 0


def test_frames_of_several_inputs_are_written_together(tmp_path: Path) -> None:
    path = written(
        tmp_path / "two.onnx",
        "g (float[1, 4] a, float[1, 4] b) => (float[1, 4] y) { y = Add(a, b) }",
    )
    folder = tmp_path / "frames"
    folder.mkdir()
    with closing(Witness(entry_for(path, None, ON_CPU), folder)) as witness:
        assert witness.about()["spec"]["inputs"][0]["kind"] == "tensor"
    with np.load(folder / "0.npz") as stored:
        assert stored["names"].tolist() == ["a", "b"]
        assert stored["a0"].shape == stored["a1"].shape == (1, 4)


@pytest.mark.parametrize(("off", "whole"), [(0.0, True), (0.05, False)])
def test_a_peer_that_runs_the_file_as_it_is_is_held_to_the_limits_of_its_precision(
    off: float, whole: bool, witness: Witness
) -> None:
    answers = []
    for frame in witness._frames:
        found = witness._model(frame).value
        assert isinstance(found, Detections)
        rows = zip(found.class_ids, found.scores - off, found.boxes_xyxy, strict=True)
        answers.append({"boxes": [[int(c), float(s), *map(float, box)] for c, s, box in rows]})
    said = witness.agree(answers, "yolov8", "as the file")
    assert (said["same"] == said["frames"] == MOST_FRAMES) is whole
