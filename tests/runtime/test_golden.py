"""Golden vectors: what is the same passes, every planted fault fails, damage is told apart."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeinfer.cli.main import main
from edgeinfer.errors import ModelFileError
from edgeinfer.golden import Golden, Sample, golden_path, pack, read_golden, replay, tolerance_of
from edgeinfer.golden.answers import LIMITS, differences
from edgeinfer.golden.replay import _shares
from edgeinfer.golden.vectors import MAX_VALUES, thinned
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.preprocess import preprocess

SPEC: dict[str, Any] = {
    "schema": "edgeinfer.spec/1",
    "task": "tensor",
    "head": "tensor",
    "labels": [],
    "inputs": [{"name": "x", "size_hw": [8, 8], "resize": "stretch", "color": "rgb"}],
}
NET = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 3, 8, 8] x) => (float[1, 3, 1, 1] y) { y = GlobalAveragePool (x) }
"""
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = onnx.parser.parse_model(NET)
    made.metadata_props.add(key="edgeinfer.spec", value=json.dumps(SPEC))
    path = tmp_path / "net.onnx"
    onnx.save(made, str(path))
    return path


def golden_of(model: Path, spec_scale: float = 1.0) -> Golden:
    options = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    with open_model(model, options) as opened:
        array, _ = preprocess(PICTURE, opened.spec.inputs[0])
        fed = {"x": (array * np.float32(spec_scale)).astype(np.float32)}
        outputs = opened.raw(fed)
        sample = Sample(
            inputs=fed,
            outputs={name: value.reshape(-1) for name, value in outputs.items()},
            shapes={name: value.shape for name, value in outputs.items()},
            strides=dict.fromkeys(outputs, 1),
            picture=PICTURE,
            result={},
        )
        sha256 = opened.file.sha256
    return Golden(sha256, "fp32", "here", {"y": tolerance_of("fp32")}, "pictures", (sample,))


def written(model: Path, golden: Golden) -> Path:
    path = golden_path(model)
    path.write_bytes(pack(golden))
    return path


def test_what_is_written_is_read_again(model: Path) -> None:
    golden = golden_of(model)
    read = read_golden(written(model, golden))
    assert (read.model_sha256, read.precision, read.kind) == (
        golden.model_sha256,
        "fp32",
        "pictures",
    )
    assert read.tolerances == golden.tolerances
    for name in ("inputs", "outputs"):
        for key, array in getattr(golden.samples[0], name).items():
            np.testing.assert_array_equal(getattr(read.samples[0], name)[key], array)
    assert np.array_equal(read.samples[0].picture, PICTURE)  # type: ignore[arg-type]


def test_a_single_number_keeps_its_shape(model: Path) -> None:
    golden = golden_of(model)
    single = dataclasses.replace(golden.samples[0], inputs={"t": np.float32(3)})
    read = read_golden(written(model, dataclasses.replace(golden, samples=(single,))))
    assert read.samples[0].inputs["t"].shape == ()


def test_numpy_reads_the_file_too(model: Path) -> None:
    with np.load(written(model, golden_of(model))) as held:
        assert np.array_equal(held["0_picture"], PICTURE)


def test_the_same_content_gives_the_same_bytes(model: Path) -> None:
    assert pack(golden_of(model)) == pack(golden_of(model))


def test_long_outputs_are_thinned_by_an_odd_stride() -> None:
    values, stride = thinned(np.arange(3 * MAX_VALUES, dtype=np.float32))
    assert stride % 2 == 1
    assert len(values) <= MAX_VALUES
    assert values[1] == stride


def run(model: Path, *more: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any, str]:
    code = main(["selftest", str(model), "--provider", "cpu", "--format", "json", *more])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_the_box_that_made_them_passes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(model, golden_of(model))
    code, document, _ = run(model, capsys=capsys)
    assert code == 0
    assert document["schema"] == "edgeinfer.selftest/1"
    assert (document["verdict"], document["provider"]) == ("pass", "cpu")
    assert document["outputs"]["y"] == {
        "max": 0.0,
        "mean": 0.0,
        "tolerance": {"max": 1e-3, "mean": 1e-4},
        "shape": None,
        "ok": True,
    }
    assert document["preprocess"] == {"max_levels": 0.0, "tolerance": 2.0, "pictures": 1}


def test_an_output_that_differs_is_named_with_its_figures(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = golden_of(model)
    other = {"y": golden.samples[0].outputs["y"] + np.float32(0.01)}
    sample = dataclasses.replace(golden.samples[0], outputs=other)
    written(model, dataclasses.replace(golden, samples=(sample,)))
    code, document, err = run(model, capsys=capsys)
    assert code == 4
    assert document["verdict"] == "fail"
    assert "output 'y' differs by" in err
    assert "0.001" in err


def test_preprocessing_that_differs_is_told_apart_from_outputs(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As if the box scaled pixels in another way than the one where the model was made.
    written(model, golden_of(model, spec_scale=0.9))
    code, document, err = run(model, capsys=capsys)
    assert code == 4
    assert document["outputs"]["y"]["ok"]
    assert document["preprocess"]["max_levels"] > 20
    assert "preprocessing differs by" in err


def test_vectors_of_another_file_are_refused(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(model, dataclasses.replace(golden_of(model), model_sha256="ab" * 32))
    code, _, err = run(model, capsys=capsys)
    assert code == 1
    assert "abababababab" in err
    assert "export" in err


def test_missing_vectors_say_how_to_make_them(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(model, capsys=capsys)
    assert code == 1
    assert "edgeinfer export" in err
    assert "net.golden.npz" in err


def _members(path: Path, **changed: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            key = info.filename.replace(".", "_")
            new.writestr(info.filename, changed.get(key, old.read(info)))
    return buffer.getvalue()


def test_damaged_and_hostile_vectors_are_refused(model: Path) -> None:
    path = written(model, golden_of(model))
    whole = path.read_bytes()
    index = json.loads(zipfile.ZipFile(path).read("golden.json"))
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    objects = io.BytesIO()
    np.lib.format.write_array(objects, np.array([{}], dtype=object), allow_pickle=True)
    damaged = [
        b"",
        whole[: len(whole) // 2],
        b"PK\x03\x04" + whole[8:],
        _members(path, golden_json=b"[]"),
        _members(path, golden_json=b"{" * 100000),
        _members(path, golden_json=json.dumps({**index, "samples": []}).encode()),
        _members(path, golden_json=json.dumps({**index, "schema": "x/9"}).encode()),
        _members(path, **{"0_input0_npy": huge.getvalue()}),
        _members(path, **{"0_input0_npy": objects.getvalue()}),
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"golden vectors.*(again|export)"):
            read_golden(path)


def test_vectors_that_do_not_fit_the_model_are_refused(model: Path) -> None:
    golden = golden_of(model)
    sample = dataclasses.replace(
        golden.samples[0], inputs={"x": np.zeros((1, 3, 4, 4), np.float32)}, picture=None
    )
    with (
        open_model(model, LoadOptions(provider="cpu", use_plan=False)) as opened,
        pytest.raises(ModelFileError, match="do not fit"),
    ):
        replay(opened, dataclasses.replace(golden, samples=(sample,)))


def test_thresholds_of_ones_own_are_no_test(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(model, golden_of(model))
    code, _, err = run(model, "--score-threshold", "0.5", capsys=capsys)
    assert code == 2
    assert "--score-threshold" in err


def test_dead_scores_are_not_hidden_by_boxes_in_pixels() -> None:
    wanted = np.zeros((1, 5, 50), np.float32)
    wanted[0, :4] = np.linspace(0, 640, 50)
    wanted[0, 4] = np.linspace(0, 0.9, 50)
    got = wanted.copy()
    got[0, 4] = 0
    off = _shares(wanted.reshape(-1), got.reshape(-1), wanted.shape, 1)
    assert float(off.max()) == pytest.approx(0.9)
    turned = _shares(
        wanted.transpose(0, 2, 1).reshape(-1), got.transpose(0, 2, 1).reshape(-1), (1, 50, 5), 1
    )
    assert float(turned.max()) == pytest.approx(0.9)


def test_scores_next_to_zero_are_no_range_to_measure_by() -> None:
    wanted = np.linspace(0, 1e-5, 50, dtype=np.float32)
    near, far = wanted + np.float32(1.3e-7), wanted + np.float32(1e-5)
    assert float(_shares(wanted, near, (1, 50, 1), 1).max()) < 1e-3
    assert float(_shares(wanted, far, (1, 50, 1), 1).max()) > 1e-3
    # What is no score may well be that small.
    below = wanted - np.float32(1e-3)
    assert float(_shares(below, below + np.float32(1.3e-7), (1, 50), 1).max()) > 1e-3


def _thing(score: float, box: tuple[float, ...] = (0, 0, 10, 10), name: int = 0) -> dict[str, Any]:
    return {"label": "cat", "class_id": name, "score": score, "box_xyxy": list(box)}


Case = tuple[list[dict[str, Any]], list[dict[str, Any]], str | None]


@pytest.mark.parametrize(
    "case",
    [
        ([_thing(0.9)], [_thing(0.905)], None),
        ([_thing(0.9)], [], "is missing"),
        ([], [_thing(0.9)], "was not there"),
        ([_thing(0.9)], [_thing(0.8)], "has the score 0.800"),
        ([_thing(0.9)], [_thing(0.9, (0, 0, 10, 20))], "is missing"),
        ([_thing(0.9)], [_thing(0.9, name=1)], "is missing"),
        ([_thing(0.255)], [], None),  # so near the threshold that rounding explains it
    ],
)
def test_things_are_compared_by_class_place_and_score(case: Case) -> None:
    wanted, got, said = case
    found = differences({"detections": wanted}, {"detections": got}, LIMITS["fp32"], 0.25)
    assert (said is None and found == []) or (said is not None and said in found[0])


def test_the_best_class_decides_unless_two_were_as_good() -> None:
    def classes(*pairs: tuple[int, float]) -> dict[str, Any]:
        return {"classes": [{"label": str(i), "class_id": i, "score": s} for i, s in pairs]}

    compare: Callable[..., list[str]] = differences
    limits = LIMITS["fp32"]
    sure, torn = classes((0, 0.9), (1, 0.1)), classes((0, 0.501), (1, 0.499))
    assert compare(sure, classes((0, 0.899)), limits, 0.0) == []
    assert "1 (0.900) in place of 0" in compare(sure, classes((1, 0.9)), limits, 0.0)[0]
    assert compare(torn, classes((1, 0.5), (0, 0.5)), limits, 0.0) == []
