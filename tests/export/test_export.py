"""export(): from a file to a file, its proof, and everything that must not happen."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import edgeinfer_export
from edgeinfer.cli.main import main
from edgeinfer.errors import (
    CheckFailed,
    EdgeInferError,
    ModelFileError,
    SinkError,
    SourceError,
    SpecError,
    UsageError,
)
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer_export import export
from edgeinfer_export.quantize.static import Quantizer

UNTOLD = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 3, 32, 32] images) => (float[1, 3] scores) {
  pooled = GlobalAveragePool (images)
  flat = Flatten (pooled)
  scores = Softmax (flat)
}
"""


def spec_in(path: Path) -> dict[str, Any]:
    model = onnx.load(str(path))
    texts = {entry.key: entry.value for entry in model.metadata_props}
    spec: dict[str, Any] = json.loads(texts["edgeinfer.spec"])
    return spec


def op_types(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(path)).graph.node}


def test_fp32_is_the_same_model_with_its_spec(source: Path, tmp_path: Path) -> None:
    done = export(source, tmp_path / "out.onnx")
    assert done.parity["outputs"]["output0"] == {"max": 0.0, "mean": 0.0}
    assert (done.precision, done.target, done.parity["inputs"]) == ("fp32", None, "random")
    spec = spec_in(done.output)
    assert spec["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (spec["precision"], spec["target"], spec["labels"]) == (
        "fp32",
        None,
        ["blue", "green", "red"],
    )
    assert done.sha256 == hashlib.sha256(done.output.read_bytes()).hexdigest()


@pytest.mark.usefixtures("own_cache")
def test_int8_sees_what_fp32_sees(
    source: Path, pictures: Path, labelled: Path, tmp_path: Path
) -> None:
    steps: list[str] = []
    done = export(
        source,
        tmp_path / "out.onnx",
        precision="int8",
        calibration=pictures,
        validation=labelled,
        max_drop=0.05,
        progress=lambda step, done, total: steps.append(step),
    )
    assert done.metric["before"]["map50"] == 1.0
    assert done.metric["after"]["map50"] == 1.0
    found = dict(done.parity["agreement"])
    assert found.pop("box_iou") > 0.99
    assert found.pop("score_gap") < 0.01
    assert found == {"share": 1.0, "agreement": 1.0, "answers": 24, "extra": 0, "pictures": 8}
    assert {"QuantizeLinear", "DequantizeLinear"} <= op_types(done.output)
    spec = spec_in(done.output)
    assert (spec["precision"], spec["target"]) == ("int8", "x86-any")
    assert "calibrate" in steps
    assert list(dict.fromkeys(steps)) == [
        "read",
        "calibrate",
        "validate source",
        "search",
        "validate output",
        "compare",
        "time",
        "write",
    ]
    document = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert set(document) >= {"output", "sha256", "precision", "target", "parity", "metric"}
    assert len(document["kept_float"]) == 7
    assert document["variants"][0]["sha256"] == spec["source_sha256"]


def test_the_head_stays_in_float(source: Path, pictures: Path, tmp_path: Path) -> None:
    done = export(source, tmp_path / "out.onnx", precision="int8", calibration=pictures)
    model = onnx.load(str(done.output))
    producers = {name: node for node in model.graph.node for name in node.output}
    head = [node for node in model.graph.node if node.name in done.kept_float]
    assert sorted(node.op_type for node in head if node.op_type != "Reshape") == [
        "Add",
        "Concat",
        "Conv",
        "Conv",
        "Sigmoid",
    ]
    for node in head:
        if node.op_type == "Conv":
            continue
        sources = [producers[name].op_type for name in node.input if name in producers]
        assert "DequantizeLinear" not in sources


@pytest.mark.parametrize(("target", "most"), [("x86-any", 64), ("x86-vnni", 127), ("arm", 127)])
def test_weights_keep_to_the_bits_of_the_target(
    source: Path, pictures: Path, tmp_path: Path, target: str, most: int
) -> None:
    done = export(
        source, tmp_path / "out.onnx", precision="int8", target=target, calibration=pictures
    )
    model = onnx.load(str(done.output))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = [a for a in tensors.values() if a.dtype == np.int8 and a.ndim == 4]
    assert len(weights) == 2
    assert max(int(np.abs(a.astype(int)).max()) for a in weights) == most
    points = {
        tensors[node.input[2]].dtype
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert points == {np.dtype(np.int8 if target == "arm" else np.uint8)}


def test_scales_are_per_channel(source: Path, pictures: Path, tmp_path: Path) -> None:
    done = export(source, tmp_path / "out.onnx", precision="int8", calibration=pictures)
    model = onnx.load(str(done.output))
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    assert 6 in {
        sizes.get(node.input[1], 0)
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_every_calibration_method_works(
    source: Path, pictures: Path, tmp_path: Path, method: str
) -> None:
    done = export(
        source,
        tmp_path / "out.onnx",
        precision="int8",
        calibration=pictures,
        calibration_method=method,
    )
    assert done.parity["agreement"]["share"] > 0.8


def test_calibration_from_arrays(source: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "c.npz", random.uniform(size=(5, 3, 32, 32)).astype(np.float32))
    done = export(source, tmp_path / "out.onnx", precision="int8", calibration=tmp_path / "c.npz")
    assert (done.parity["samples"], "agreement" in done.parity) == (5, False)


def test_the_same_command_gives_the_same_bytes_in_another_process(
    source: Path, pictures: Path, tmp_path: Path
) -> None:
    digests = set()
    for seed in ("1", "2"):
        output = tmp_path / seed / "out.onnx"
        output.parent.mkdir()
        code = (
            "import sys, edgeinfer_export as e; "
            "e.export(sys.argv[1], sys.argv[2], precision='int8', calibration=sys.argv[3])"
        )
        paths = os.pathsep.join([p for p in sys.path if p])
        subprocess.run(
            [sys.executable, "-c", code, str(source), str(output), str(pictures)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
        )
        digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
        assert str(tmp_path).encode() not in output.read_bytes()
    assert len(digests) == 1


def test_the_quantizers_talk_reaches_nobody(
    source: Path,
    pictures: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = list(logging.getLogger().handlers)
    export(
        source,
        tmp_path / "out.onnx",
        precision="int8",
        calibration=pictures,
        calibration_method="percentile",
    )
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger().handlers == handlers


def test_a_model_that_went_blind_is_refused_and_the_old_file_stays(
    source: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Quantizer.build

    def blind(job: Quantizer, kept: Sequence[str] = ()) -> onnx.ModelProto:
        made = real(job, kept)
        for tensor in made.graph.initializer:
            if tensor.name.startswith("score_b"):
                values = numpy_helper.to_array(tensor) - 1000
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return made

    monkeypatch.setattr(Quantizer, "build", blind)
    output = tmp_path / "out.onnx"
    output.write_bytes(b"the older file")
    with pytest.raises(CheckFailed, match=r"finds nothing on 8 pictures.*source finds 24"):
        export(source, output, precision="int8", calibration=pictures)
    assert output.read_bytes() == b"the older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "detector.onnx",
        "out.onnx",
        "pictures",
    ]


def test_a_drop_beyond_the_allowed_one_is_refused(
    source: Path, pictures: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Quantizer.build

    def colour_blind(job: Quantizer, kept: Sequence[str] = ()) -> onnx.ModelProto:
        made = real(job, kept)
        for tensor in made.graph.initializer:
            if tensor.name.startswith("score_b"):
                values = numpy_helper.to_array(tensor).copy()
                values[0] -= 1000
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return made

    monkeypatch.setattr(Quantizer, "build", colour_blind)
    with pytest.raises(
        CheckFailed,
        match=r"map50_95.*at best fell from 1\.0000 to 0\.6667.*attempts.*not written",
    ):
        export(
            source,
            tmp_path / "out.onnx",
            precision="int8",
            calibration=pictures,
            validation=labelled,
            max_drop=0.01,
        )
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("options", "kind", "why"),
    [
        ({"precision": "int9"}, UsageError, "Did you mean 'int8'"),
        ({"precision": "int8"}, UsageError, "--calibration"),
        ({"target": "x86-vni"}, UsageError, "Did you mean 'x86-vnni'"),
        ({"framework": "onxx"}, UsageError, "Did you mean 'onnx'"),
        ({"calibration_method": "mean"}, UsageError, "no calibration method 'mean'"),
        ({"max_drop": 0.1}, UsageError, "--validation"),
        ({"task": "detekt"}, UsageError, "Did you mean 'detect'"),
        ({"calibration": "nowhere"}, SourceError, "do not exist"),
        ({"validation": "nowhere"}, SourceError, "does not exist"),
        ({"output": "gone/out.onnx"}, SinkError, "mkdir"),
        ({"output": "out.tflite"}, UsageError, r"ends in \.onnx"),
        ({"output": "detector.onnx"}, UsageError, "source itself"),
        ({"source": "gone.onnx"}, ModelFileError, "does not exist"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_left(
    source: Path,
    tmp_path: Path,
    options: dict[str, Any],
    kind: type[EdgeInferError],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"source": "detector.onnx", "output": "out.onnx", **options}
    with pytest.raises(kind, match=why):
        export(**given)
    assert [path.name for path in tmp_path.iterdir()] == ["detector.onnx"]


def test_a_source_that_nobody_recognizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(b"nobody's format")
    with pytest.raises(ModelFileError, match=r"this version reads \(ONNX.*--framework"):
        export(path, tmp_path / "out.onnx")


def test_a_framework_that_the_source_is_not_of_is_corrected(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is ONNX: leave --framework out.*--framework onnx"):
        export(source, tmp_path / "out.onnx", framework="tflite")
    archive = tmp_path / "net.pt2"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("net/archive_format", "pt2")
        file.writestr("net/models/model.json", "{}")
    with pytest.raises(ModelFileError, match=r"net\.pt2 is read as ONNX.*--framework pytorch"):
        export(archive, tmp_path / "out.onnx", framework="onnx")


def test_a_cut_off_or_foreign_source_is_refused(source: Path, tmp_path: Path) -> None:
    whole = source.read_bytes()
    for data in (b"", b"<!DOCTYPE html><html>", whole[: len(whole) // 2], whole[:-1], b"\x00" * 99):
        source.write_bytes(data)
        with pytest.raises(ModelFileError):
            export(source, tmp_path / "out.onnx")
        assert not (tmp_path / "out.onnx").exists()


def test_a_graph_that_contradicts_itself_is_refused(tmp_path: Path, pictures: Path) -> None:
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 3, 32, 32] x) => (float[1, 5] y) { y = Gemm (x, x) }
        """
    )
    onnx.save(model, str(tmp_path / "a.onnx"))
    for precision in ("fp32", "int8"):
        with pytest.raises(ModelFileError, match="ONNX Runtime"):
            export(
                tmp_path / "a.onnx",
                tmp_path / "out.onnx",
                precision=precision,
                calibration=pictures,
                task="tensor",
                spec=ModelSpec("tensor", "tensor", inputs=(InputSpec("x", size_hw=(32, 32)),)),
            )
        assert not (tmp_path / "out.onnx").exists()


def test_a_file_that_aborts_the_runtime_does_not_abort_the_export(tmp_path: Path) -> None:
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Split", ["x"], ["a", "b"], num_outputs=1)],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [2])],
            [onnx.helper.make_tensor_value_info("a", 1, None)],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.save(model, str(tmp_path / "split.onnx"))
    with pytest.raises(ModelFileError, match=r"refused|valid"):
        export(tmp_path / "split.onnx", tmp_path / "out.onnx", task="tensor")


def test_a_model_that_does_not_say_what_it_means_needs_a_spec(
    bare: Path, pictures: Path, tmp_path: Path
) -> None:
    done = export(bare, tmp_path / "guessed.onnx")
    assert any("guess" in note or "head" in note for note in done.notes)
    (tmp_path / "spec.json").write_text(json.dumps({"task": "detect", "head": "nonsense"}))
    with pytest.raises((SpecError, UsageError), match="nonsense"):
        export(bare, tmp_path / "out.onnx", spec=tmp_path / "spec.json")


def test_a_quantized_source_is_not_quantized_again(
    source: Path, pictures: Path, tmp_path: Path
) -> None:
    export(source, tmp_path / "a.onnx", precision="int8", calibration=pictures)
    with pytest.raises(ModelFileError, match=r"quantized already.*FP32"):
        export(tmp_path / "a.onnx", tmp_path / "b.onnx", precision="int8", calibration=pictures)


def test_a_float16_source_stays_one(
    detector: onnx.ModelProto, pictures: Path, tmp_path: Path
) -> None:
    for tensor in detector.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in (*detector.graph.input, *detector.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    entry = next(item for item in detector.metadata_props if item.key == "edgeinfer.spec")
    spec = json.loads(entry.value)
    spec["inputs"][0]["dtype"] = "float16"
    entry.value = json.dumps(spec)
    onnx.save(detector, str(tmp_path / "half.onnx"))
    done = export(tmp_path / "half.onnx", tmp_path / "out.onnx")
    assert (done.precision, spec_in(done.output)["precision"]) == ("fp16", "fp16")
    assert done.parity["outputs"]["output0"]["max"] == 0.0
    assert "the source computes in fp16 already and stays so" in done.notes
    with pytest.raises(ModelFileError, match=r"float16.*FP32"):
        export(tmp_path / "half.onnx", tmp_path / "q.onnx", precision="int8", calibration=pictures)


def test_labels_of_validation_and_model_must_fit_before_work_starts(
    source: Path, pictures: Path, labelled: Path, tmp_path: Path
) -> None:
    labelled.write_text("val: images\nnames: [blue, green, pink]\n")
    steps: list[str] = []
    with pytest.raises(SpecError, match="pink"):
        export(
            source,
            tmp_path / "out.onnx",
            precision="int8",
            calibration=pictures,
            validation=labelled,
            progress=lambda step, done, total: steps.append(step),
        )
    assert steps == ["read"]


def test_what_is_named_goes_before_a_spec_given_as_an_object(source: Path, tmp_path: Path) -> None:
    plain = export(source, tmp_path / "plain.onnx").spec
    labels = tmp_path / "labels.txt"
    labels.write_text("sky\nrose\nleaf\n")
    renamed = export(source, tmp_path / "out.onnx", spec=plain, labels=labels).spec
    assert (renamed.labels, renamed.head) == (("sky", "rose", "leaf"), plain.head)
    assert export(source, tmp_path / "t.onnx", spec=plain, task="tensor").spec.head == "tensor"


@pytest.mark.parametrize("option", [{"weights": "net.pth"}, {"entry": "net:build"}])
def test_options_of_other_sources_are_refused(
    source: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"pytorch.*read as ONNX.*leave it out"):
        export(source, tmp_path / "out.onnx", framework="onnx", **option)
    assert not (tmp_path / "out.onnx").exists()


def test_what_nobody_said_is_called_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.parser.parse_model(UNTOLD)
    onnx.save(model, str(tmp_path / "net.onnx"))
    done = export(tmp_path / "net.onnx", tmp_path / "out.onnx")
    (guess,) = (note for note in done.notes if note.startswith("guessed"))
    assert all(words in guess for words in ("head 'softmax'", "the preprocessing", "--spec"))
    # From here on the file says it as if it were known; it goes on saying that nobody did.
    capsys.readouterr()
    assert main(["inspect", str(done.output)]) == 0
    assert "guessed the head 'softmax'" in capsys.readouterr().out


RECURRENT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 4] x, float[1, 1, 4] h) => (float[1, 4] y, float[1, 1, 4] hn) {
  y = Add (x, x)
  hn = Add (h, x)
}"""


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ({"y": "h"}, "tensor", r"'y' \(float32 \[1, 4\]\).*'h'.*Did you mean 'hn'"),
        ({"hn": "x"}, "image", "'x', which takes a picture"),
        ({"hn": "h", "y": "h"}, "tensor", "two outputs into the input 'h'"),
    ],
)
def test_state_that_the_second_frame_could_not_take_is_refused(
    state: dict[str, str], kind: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    model = onnx.parser.parse_model(RECURRENT)
    onnx.save(model, str(path))
    spec = ModelSpec("sequence", "sequence", inputs=(InputSpec("x", kind),), state=state)
    with pytest.raises(SpecError, match=said):
        export(path, tmp_path / "out.onnx", spec=spec)
    assert not (tmp_path / "out.onnx").exists()
    spec = ModelSpec("sequence", "sequence", inputs=(InputSpec("x", "tensor"),), state={"hn": "h"})
    export(path, tmp_path / "out.onnx", spec=spec)


def test_the_public_names_are_these() -> None:
    assert edgeinfer_export.__all__ == ["ExportOptions", "Exported", "export"]
    for name in edgeinfer_export.__all__:
        assert getattr(edgeinfer_export, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        edgeinfer_export.nothing  # noqa: B018


@pytest.mark.realdata
def test_a_real_classifier_keeps_its_accuracy(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "images" / "cifar10_test"
    names = sorted(path.name for path in folder.iterdir())
    picture = {"name": "modelInput", "size_hw": [32, 32], "resize": "stretch", "color": "rgb"}
    picture |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    spec = {"task": "classify", "head": "logits", "labels": names, "inputs": [picture]}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = export(
        realdata / "models" / "winml_cifar10.onnx",
        tmp_path / "out.onnx",
        precision="int8",
        calibration=folder,
        validation=folder,
        spec=tmp_path / "spec.json",
        max_drop=0.01,
    )
    assert done.metric["before"]["top1"] == pytest.approx(0.633)
