from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import edgeinfer
from edgeinfer.errors import InputError, UsageError
from edgeinfer.geometry import fit
from edgeinfer.heads import HEADS
from edgeinfer.heads.base import View
from edgeinfer.preprocess import preprocess
from edgeinfer.remote import WorkerFailed
from edgeinfer.results import Classes, Detections, Tensors
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer.timing import now_ns
from edgeinfer.tune.frames import material, read_frames
from edgeinfer_bench.models import mobilenet_v2_like, yolov8n_like
from edgeinfer_bench.peers import PEERS, by_hand
from edgeinfer_bench.peers.agree import Agreement, agreement
from edgeinfer_bench.peers.plain_onnxruntime import PlainSession
from edgeinfer_bench.peers.plain_video import decode, letterbox
from edgeinfer_bench.peers.process import PeerProcess

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(by_hand.__file__).parent
DIGITS = ROOT / "edgeinfer/cli/demo_data/digits.onnx"
CONVEYOR = ROOT / "edgeinfer/cli/demo_data/conveyor.mp4"
STAGES = ("preprocess_ns", "inference_ns", "postprocess_ns")
HERE = ("onnxruntime", "opencv-dnn")


def written(folder: Path, text: str) -> Path:
    path = folder / "model.onnx"
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 13]>\n' + text)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_plain_session_runs_the_unmodified_model(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[1, 4] x) => (float[1, 4] y) { y = Abs(x) }")
    (output,) = PlainSession(path, 1).run()
    assert output.shape == (1, 4) and output.any()


def test_the_plain_session_prepares_a_picture_as_a_script_would(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[1, 3, 2, 2] x) => (float[1, 3, 2, 2] y) { y = Abs(x) }")
    picture = np.empty((8, 8, 3), np.uint8)
    picture[:] = (51, 102, 255)
    (output,) = PlainSession(path, 1).run_picture(picture)
    np.testing.assert_allclose(output[0, :, 1, 1], (1, 0.4, 0.2), rtol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[n, 4] x) => (float[n, 4] y) { y = Abs(x) }",
        "g (float[4] x, float[4] z) => (float[4] y) { y = Add(x, z) }",
        "g (string[4] x) => (string[4] y) { y = Identity(x) }",
    ],
)
def test_the_plain_session_says_which_models_it_takes(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="one input of full shape"):
        PlainSession(written(tmp_path, text), 1)


def test_the_hand_written_detector_finds_what_edgeinfer_finds(tmp_path: Path) -> None:
    path = yolov8n_like(tmp_path)
    source = edgeinfer.open_source("synthetic:1280x720")
    picture = np.array(next(source).data)
    source.close()
    tensor, scale, left, top = letterbox(picture, 640)
    session = PlainSession(path, 1)
    session._feed = {"images": tensor}
    theirs = decode(session.run()[0], scale, left, top)
    with edgeinfer.load(path, "cpu", threads=1) as model:
        ours = model(picture).value
    assert isinstance(ours, edgeinfer.Detections)
    assert sorted(item[0] for item in theirs) == sorted(ours.class_ids.tolist())
    best = max(theirs, key=lambda item: item[1])
    assert best[1] == pytest.approx(float(ours.scores[0]), abs=0.02)


def interpreter_of(name: str, package: str) -> Path | None:
    """This one where it has the package, else the one of `make peers`; else the test is skipped."""
    if importlib.util.find_spec(package) is not None:
        return None
    room = ROOT / ".venv-peers/bin/python"
    with closing(PeerProcess(name, room)) as peer:
        why = peer.why_unavailable()
    if why is not None:
        pytest.skip(why_skipped(name, why))
    return room


def why_skipped(name: str, why: str) -> str:
    start = {"openvino": "no OpenVINO here", "ultralytics": "no PyTorch with Ultralytics here"}
    return f"{start[name]}: {why}"


def beside(
    name: str, model: Path, source: str, folder: Path, python: Path | None = None
) -> tuple[dict[str, Any], Agreement]:
    """A peer's word on itself, and how its answers compare with edgeinfer's."""
    folder.mkdir()
    with (
        edgeinfer.load(model, "cpu", threads=1) as ours,
        closing(PeerProcess(name, python)) as peer,
    ):
        count = material(folder, (source,), None, ours.takes_pictures, ours.fed_inputs).count
        spec = ours.spec.to_dict()
        shape = [size for size in ours.fed_inputs[0].shape if isinstance(size, int)]
        about = peer.open(model, 1, spec, shape)
        assert peer.frames(folder) == count
        answer = ours.raw if about["head"] == "tensor" else lambda frame: ours(frame).value
        values = [answer(frame) for frame in read_frames(folder)]
        return about, agreement(peer.answers(), values)


@pytest.fixture
def digits(tmp_path: Path) -> Iterator[PeerProcess]:
    """ONNX Runtime with the digits model and the frames of its video."""
    folder = tmp_path / "frames"
    folder.mkdir()
    with edgeinfer.load(DIGITS, "cpu", threads=1) as model:
        material(folder, (str(CONVEYOR),), None, model.takes_pictures, model.fed_inputs)
        spec = model.spec.to_dict()
    with closing(PeerProcess("onnxruntime")) as peer:
        peer.open(DIGITS, 1, spec)
        peer.frames(folder)
        yield peer


@pytest.mark.parametrize("name", HERE)
def test_a_peer_finds_the_digits_that_edgeinfer_finds(name: str, tmp_path: Path) -> None:
    about, found = beside(name, DIGITS, str(CONVEYOR), tmp_path / "frames")
    assert about["name"] == name and about["head"] == "yolov8" and about["threads"] == 1
    assert about["version"] and about["opening_ns"] > 0
    assert found.complete and found.figures["boxes_on_both"] > 20, found.sentence
    assert found.figures["score_difference"] < 1e-4 and found.figures["mean_iou"] > 0.999


@pytest.mark.parametrize("name", HERE)
def test_a_peer_ranks_the_classes_that_edgeinfer_ranks(name: str, tmp_path: Path) -> None:
    model = mobilenet_v2_like(tmp_path, 64)
    about, found = beside(name, model, "synthetic:160x120", tmp_path / "frames")
    assert about["head"] == "logits"
    assert found.complete and found.figures["score_difference"] < 1e-4, found.sentence


@pytest.mark.parametrize("name", HERE)
def test_what_has_no_decoder_is_compared_by_its_raw_outputs(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[1, 8] x) => (float[1, 8] y, float[1, 8] z) "
                   "{ y = Sigmoid(x) z = Abs(x) }")  # fmt: skip
    np.savez(tmp_path / "given.npz", x=np.linspace(-1, 1, 8, dtype=np.float32)[None])
    about, found = beside(name, path, str(tmp_path / "given.npz"), tmp_path / "frames")
    assert about["head"] == "tensor"
    assert found.complete and found.figures["output_difference"] < 1e-5, found.sentence


def test_openvinos_own_runtime_gives_the_same_answers(tmp_path: Path) -> None:
    python = interpreter_of("openvino", "openvino")
    about, found = beside("openvino-fp32", DIGITS, str(CONVEYOR), tmp_path / "frames", python)
    assert about["threads"] == 1 and about["precision"] == "fp32"
    assert found.complete and found.figures["boxes_on_both"] > 20, found.sentence
    model = mobilenet_v2_like(tmp_path, 64)
    _, found = beside("openvino-fp32", model, "synthetic:160x120", tmp_path / "classes", python)
    assert found.complete, found.sentence


def test_ultralytics_gives_the_same_answers(tmp_path: Path) -> None:
    python = interpreter_of("ultralytics", "ultralytics")
    about, found = beside("ultralytics", DIGITS, str(CONVEYOR), tmp_path / "frames", python)
    assert about["head"] == "yolov8"
    assert found.complete and found.figures["boxes_on_both"] > 20, found.sentence


def test_a_block_has_a_row_for_every_frame_and_begins_where_it_is_told(
    digits: PeerProcess,
) -> None:
    before = now_ns()
    block = digits.block(5, first=10)
    assert {len(block[name]) for name in ("began_ns", "latency_ns", *STAGES)} == {5}
    assert before < block["began_ns"][0] and block["began_ns"] == sorted(block["began_ns"])
    assert block["began_ns"][-1] + block["latency_ns"][-1] < now_ns()
    for row, latency in enumerate(block["latency_ns"]):
        assert 0 < sum(block[name][row] for name in STAGES) <= latency
    assert block["cpu_ns"] > 0


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[1, 1] x) => (float[1, 1] y) { y = Identity(x) }")
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(11):
        np.save(folder / f"{number}.npy", np.full((1, 1), number, np.float32))
    with closing(PeerProcess("onnxruntime")) as peer:
        peer.open(path, 1, tensor_spec("x"))
        assert peer.frames(folder) == 11
        said = [item["outputs"][0]["mean"] for item in peer.answers()]
    assert said == list(range(11))


def tensor_spec(*names: str, **more: Any) -> dict[str, Any]:
    inputs = tuple(InputSpec(name, kind="tensor") for name in names)
    return ModelSpec("tensor", "tensor", inputs=inputs, **more).to_dict()


def test_an_operator_that_opencv_lacks_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[1, 8] x) => (uint8[1, 8] y) "
                   "{ y, s, z = DynamicQuantizeLinear(x) }")  # fmt: skip
    with closing(PeerProcess("opencv-dnn")) as peer:
        with pytest.raises(WorkerFailed) as failed:
            peer.open(path, 1, tensor_spec("x"))
        assert peer.why_unavailable() is None  # it lives on
    said = str(failed.value)
    assert said.startswith(f"OpenCV DNN cannot open {path.name}: ") and said.endswith(".")
    assert "DynamicQuantizeLinear" in said and "\n" not in said and "Traceback" not in said


@pytest.mark.parametrize("name", HERE)
def test_a_file_that_is_no_model_is_said_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "page.onnx"
    path.write_text("<html>")
    with (
        closing(PeerProcess(name)) as peer,
        pytest.raises(
            WorkerFailed, match=f"{PEERS[name].title} cannot open {path.name}: .+"
        ) as failed,
    ):
        peer.open(path, 1, tensor_spec("x"))
    assert "\n" not in str(failed.value)


def test_a_model_with_state_is_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path, "g (float[1, 4] x, float[1, 4] h) => (float[1, 4] y) { y = Add(x, h) }"
    )
    with (
        closing(PeerProcess("onnxruntime")) as peer,
        pytest.raises(WorkerFailed, match="carries state"),
    ):
        peer.open(path, 1, tensor_spec("x", "h", state={"y": "h"}))


def test_frames_before_the_model_are_refused(tmp_path: Path) -> None:
    with (
        closing(PeerProcess("onnxruntime")) as peer,
        pytest.raises(WorkerFailed, match="no model and frames were given"),
    ):
        peer.block(1)


def test_a_missing_package_or_interpreter_comes_with_the_remedy(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    bare = tmp_path / "bare/bin/python"
    for name, missing in (("ultralytics", "ultralytics"), ("onnxruntime", "No module named")):
        with closing(PeerProcess(name, bare)) as peer:
            why = peer.why_unavailable()
        assert why is not None and missing in why and why.endswith(PEERS[name].remedy)
    with closing(PeerProcess("openvino", tmp_path / "none")) as peer:
        why = peer.why_unavailable()
    assert why is not None and "no interpreter" in why and "make peers" in why


def test_the_peers_of_this_environment_are_available() -> None:
    for name in HERE:
        with closing(PeerProcess(name)) as peer:
            assert peer.why_unavailable() is None


def test_a_peer_that_does_not_exist_is_said_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no peer 'openvin'.*openvino"):
        PeerProcess("openvin")


@pytest.mark.parametrize(
    "script", [peer.script for peer in PEERS.values()] + ["line.py", "by_hand.py"]
)
def test_a_peer_imports_nothing_of_edgeinfer(script: str) -> None:
    tree = ast.parse((FOLDER / script).read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    imported = [
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in guarded
        for name in [getattr(node, "module", None) or "", *(item.name for item in node.names)]
    ]
    assert not [name for name in imported if name.startswith("edgeinfer")]


PICTURE = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"resize": "pad-br", "color": "bgr", "scale": 1.0},
        {"resize": "stretch", "interpolation": "area"},
        {"resize": "center-crop", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        {"resize": "letterbox", "anchor": "top-left", "pad_value": 0},
        {"color": "gray", "scale": 1.0, "mean": (127.0,), "std": (128.0,)},
        {"layout": "nhwc", "dtype": "uint8", "scale": 1.0},
        {"layout": "nhwc", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
        {"dtype": "float16", "color": "bgr"},
        {"resize": "none", "size_hw": (90, 160)},
    ],
)
def test_pictures_are_brought_in_by_hand_as_edgeinfer_brings_them_in(given: Any) -> None:
    spec = InputSpec("x", **{"size_hw": (64, 96), **given})
    ours, to_frame = preprocess(PICTURE, spec)
    picture, view = by_hand.resized(PICTURE, spec.to_dict(), spec.size_hw or (0, 0))
    theirs = by_hand.as_blob(picture, spec.to_dict())
    assert theirs.shape == ours.shape and theirs.dtype == ours.dtype
    np.testing.assert_allclose(theirs, ours, atol=2e-3 if spec.dtype == "float16" else 1e-5)
    corners = np.array([[0, 0, 60, 40]], np.float32)
    expected = to_frame.boxes(corners).clip(0, [160, 90, 160, 90])
    np.testing.assert_allclose(by_hand._placed(corners, view), expected, atol=1e-3)


def raw_output(head: str) -> Any:
    """What a graph of that head may say: 189 predictions for 96x96, three classes."""
    random = np.random.default_rng(1)
    centres, sizes = random.uniform(10, 86, (189, 2)), random.uniform(5, 40, (189, 2))
    scores, sure = random.uniform(0, 0.6, (189, 3)), random.uniform(0, 1, (189, 1))
    if head == "yolov8":
        raw = np.concatenate((centres, sizes, scores), 1).T
    elif head == "yolov5":
        raw = np.concatenate((centres, sizes, sure, scores), 1)
    elif head == "yolox":
        raw = np.concatenate((centres / 96, np.log(sizes / 20), sure, scores), 1)
    else:
        classes = random.integers(0, 3, (189, 1))
        raw = np.concatenate((centres, centres + sizes, sure, classes), 1)
    return raw[None].astype(np.float32)


@pytest.mark.parametrize("head", ["yolov8", "yolov5", "yolox", "end2end"])
def test_boxes_are_decoded_by_hand_as_edgeinfer_decodes_them(head: str) -> None:
    raw = raw_output(head)
    item = InputSpec("x", size_hw=(96, 96))
    spec = ModelSpec("detect", head, inputs=(item,), thresholds={"score": 0.3, "iou": 0.5})
    where = fit((160, 90), (96, 96), "letterbox", "center")
    ours = HEADS[head].decode({"y": raw.copy()}, [View(where.to_frame(), (160, 90))], spec)[0]
    _, view = by_hand.resized(PICTURE, item.to_dict(), (96, 96))
    answer = by_hand.told(by_hand.DECODERS[head]([raw.copy()], view, spec.to_dict()))
    found = agreement([answer], [ours], score_threshold=0.3)
    assert found.complete and found.figures["boxes_on_one"] == 0, found.sentence
    assert found.figures["boxes_on_both"] > 10 and found.figures["mean_iou"] > 0.999


def test_nothing_found_is_an_answer() -> None:
    item = InputSpec("x", size_hw=(96, 96))
    _, view = by_hand.resized(PICTURE, item.to_dict(), (96, 96))
    for head in ("yolov8", "yolov5", "yolox", "end2end"):
        spec = ModelSpec("detect", head, inputs=(item,)).to_dict()
        empty = by_hand.DECODERS[head]([np.zeros_like(raw_output(head))], view, spec)
        assert by_hand.told(empty) == {"boxes": []}


@pytest.fixture
def ultralytics_peer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module; it looks for its own folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    return importlib.import_module("edgeinfer_bench.peers.ultralytics_peer")


@pytest.mark.parametrize(
    ("task", "head", "given", "said"),
    [
        ("detect", "yolov8", {}, None),
        ("classify", "softmax", {"resize": "center-crop"}, None),
        ("detect", "yolox", {}, "head 'yolox'"),
        ("segment", "segment", {}, "head 'segment'"),
        ("detect", "yolov8", {"resize": "stretch"}, "resize 'letterbox'.*'stretch'"),
        ("detect", "yolov8", {"color": "bgr"}, "color 'rgb'.*'bgr'"),
        ("detect", "yolov8", {"scale": 1.0}, "from 0 to 1"),
        ("detect", "yolov8", {"mean": (0.5, 0.5, 0.5)}, "mean"),
        ("detect", "yolov8", {"pad_value": 0}, "pads with 114"),
        ("detect", "yolov8", {"kind": "tensor"}, "kind 'image'"),
    ],
)
def test_ultralytics_is_asked_only_for_what_it_feeds(
    ultralytics_peer: Any, task: str, head: str, given: Any, said: str | None
) -> None:
    spec = ModelSpec(task, head, inputs=(InputSpec("x", size_hw=(96, 96), **given),)).to_dict()
    why = ultralytics_peer.why_not(spec)
    assert (why is None) if said is None else (why is not None)
    if said is not None:
        with pytest.raises(ValueError, match=said):
            raise ValueError(why)


def detections(*rows: tuple[int, float, float]) -> Detections:
    """Boxes 20 pixels wide from class, score and left edge."""
    ids, scores, left = zip(*rows, strict=True) if rows else ((), (), ())
    edge = np.array(left, np.float32)
    boxes = np.stack((edge, edge * 0, edge + 20, edge * 0 + 20), axis=1).reshape(-1, 4)
    return Detections(boxes, np.array(scores, np.float32), np.array(ids, np.int64))


def told(value: Detections) -> Mapping[str, Any]:
    rows = zip(value.class_ids, value.scores, value.boxes_xyxy, strict=True)
    return {"boxes": [[int(at), float(score), *map(float, box)] for at, score, box in rows]}


OURS = detections((0, 0.9, 0), (1, 0.8, 50), (0, 0.252, 100))


@pytest.mark.parametrize(
    ("theirs", "same", "said"),
    [
        (OURS, 1, "same answers on 1 of 1 frames .3 boxes"),
        (detections((0, 0.9, 4), (1, 0.8, 50), (0, 0.252, 100)), 1, "mean IoU"),
        (detections((0, 0.9, 0), (1, 0.8, 50)), 1, "1 on one side only"),  # at the threshold
        (detections((0, 0.9, 30), (1, 0.8, 50), (0, 0.252, 100)), 0, "2 on one side only"),
        (detections((1, 0.9, 0), (1, 0.8, 50), (0, 0.252, 100)), 0, "2 on one side only"),
        (detections((0, 0.9, 0), (0, 0.252, 100)), 0, "1 on one side only"),
        (detections((0, 0.85, 0), (1, 0.8, 50), (0, 0.252, 100)), 0, "scores within 0.05"),
        (detections(), 0, "different answers on 1 of 1"),
    ],
)
def test_boxes_that_differ_are_flagged(theirs: Detections, same: int, said: str) -> None:
    found = agreement([told(theirs)], [OURS])
    assert found.same == same and said.replace(".3", "(3") in found.sentence
    assert found.to_dict()["frames"] == 1


def test_a_coarser_precision_may_be_further_off() -> None:
    theirs = detections((0, 0.85, 0), (1, 0.8, 50), (0, 0.252, 100))
    assert not agreement([told(theirs)], [OURS]).complete
    assert agreement([told(theirs)], [OURS], precision="int8").complete


def test_a_box_without_area_agrees_with_itself() -> None:
    flat = Detections(
        np.array([[5, 90, 20, 90]], np.float32), np.array([0.9], np.float32), np.array([0])
    )
    assert agreement([told(flat)], [flat]).complete


def test_classes_and_outputs_that_differ_are_flagged() -> None:
    ours = Classes(np.array([3, 1]), np.array([0.7, 0.2], np.float32))
    assert agreement([{"classes": [[3, 0.7], [1, 0.2]]}], [ours]).complete
    assert not agreement([{"classes": [[1, 0.7], [3, 0.2]]}], [ours]).complete
    assert not agreement([{"classes": [[3, 0.5]]}], [ours]).complete
    assert not agreement([{"classes": []}], [ours]).complete
    values = np.arange(8, dtype=np.float32)
    same = {"outputs": [by_hand.summary(values)]}
    assert agreement([same], [Tensors({"y": values})]).complete
    assert agreement([same], [{"y": values}]).complete
    for other in (values[::-1], values[None], values * 1.1, np.full(8, np.nan, np.float32)):
        assert not agreement([{"outputs": [by_hand.summary(other)]}], [{"y": values}]).complete
    assert not agreement([same], [{"y": values, "z": values}]).complete


def test_answers_of_different_kinds_or_number_are_not_compared() -> None:
    found = agreement([{"classes": [[3, 0.7]]}], [OURS])
    assert found.frames == 0 and not found.complete and "boxes, classes" in found.sentence
    assert "edgeinfer 0" in agreement([told(OURS)], []).sentence
