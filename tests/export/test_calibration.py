"""Calibration data: one sample at a time, and every wrong kind is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.errors import SourceError, SpecError, UsageError
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec
from edgeinfer_export.quantize import calibration
from edgeinfer_export.quantize.calibration import RandomInputs, open_calibration

SPEC = ModelSpec("detect", "yolov8", inputs=(InputSpec("images", size_hw=(32, 32)),))
TENSOR = TensorSpec("images", "float32", (1, 3, 32, 32))


def test_pictures_are_prepared_as_the_model_takes_them(pictures: Path) -> None:
    data = open_calibration(pictures, SPEC, (TENSOR,))
    assert (len(data), data.kind) == (8, "pictures")
    array = data.inputs(0)["images"]
    bgr = cv2.imread(str(pictures / "0.png"))
    np.testing.assert_allclose(array[0, 0], bgr[:, :, 2] / 255, atol=1e-6)


def test_a_fixed_batch_is_filled(pictures: Path) -> None:
    data = open_calibration(pictures, SPEC, (TensorSpec("images", "float32", (4, 3, 32, 32)),))
    assert data.inputs(1)["images"].shape == (4, 3, 32, 32)


def test_many_pictures_are_thinned_out_evenly_and_it_is_said(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MAX_SAMPLES", 3)
    data = open_calibration(pictures, SPEC, (TENSOR,))
    assert [path.name for path in data.paths] == ["0.png", "4.png", "7.png"]  # type: ignore[union-attr]
    assert "3 of 8" in data.notes[0]


def test_arrays_are_cut_along_their_first_axis(tmp_path: Path) -> None:
    array = np.arange(5 * 3 * 32 * 32, dtype=np.float64).reshape(5, 3, 32, 32)
    np.savez(tmp_path / "a.npz", whatever=array)
    data = open_calibration(tmp_path / "a.npz", SPEC, (TENSOR,))
    assert (len(data), data.kind) == (5, "arrays")
    assert data.inputs(2)["images"].dtype == np.float32
    np.testing.assert_array_equal(data.inputs(2)["images"][0], array[2].astype(np.float32))


def test_arrays_that_are_not_the_models_inputs_are_refused(tmp_path: Path) -> None:
    two = (TENSOR, TensorSpec("size", "int64", ("n", 2)))
    good, sizes = np.zeros((2, 3, 32, 32), np.float32), np.zeros((2, 2), np.int64)
    cases = (
        ({"image": good, "size": sizes}, "Did you mean 'images'"),
        ({"images": good}, "lacks the model's input 'size'"),
        ({"images": good[:, :1], "size": sizes}, r"\[2, 1, 32, 32\]; the model takes"),
        ({"images": good, "size": sizes.astype(np.float32)}, "takes int64"),
        ({"images": good, "size": sizes[:1]}, "images 2, size 1"),
    )
    for arrays, why in cases:
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(UsageError, match=why):
            open_calibration(tmp_path / "a.npz", SPEC, two)


def test_what_holds_no_samples_is_refused(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no pictures here")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "none.npz", images=np.zeros((0, 3, 32, 32), np.float32))
    holed = np.zeros((4, 3, 32, 32), np.float32)
    holed[2, 0, 5, 5] = np.nan
    np.savez(tmp_path / "holed.npz", images=holed)
    holed[2, 0, 5, 5] = -np.inf
    np.savez(tmp_path / "endless.npz", images=holed)
    large = holed.astype(np.float64)
    large[2, 0, 5, 5] = 1e39
    np.savez(tmp_path / "large.npz", images=large)
    for name, why in (
        ("empty", "holds no pictures"),
        ("notes", "holds no pictures"),
        ("gone", "do not exist"),
        ("broken.npz", "cannot be read"),
        ("none.npz", "no samples"),
        ("holed.npz", "NaN.*row 2"),
        ("endless.npz", "infinite.*row 2"),
        ("large.npz", "infinite in float32, first in row 2"),
    ):
        with pytest.raises(SourceError, match=why):
            open_calibration(tmp_path / name, SPEC, (TENSOR,))
    with pytest.raises(UsageError, match=r"not 0\.png"):
        open_calibration(pictures / "0.png", SPEC, (TENSOR,))


def test_pickled_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SourceError, match="cannot be read"):
        open_calibration(tmp_path / "a.npz", SPEC, (TENSOR,))


def test_pictures_for_a_model_that_takes_none_are_refused(pictures: Path) -> None:
    spec = ModelSpec("tensor", "tensor", inputs=(InputSpec("x", kind="tensor"),))
    with pytest.raises(SpecError, match=r"\.npz"):
        open_calibration(pictures, spec, (TensorSpec("x", "float32", (1, 4)),))


def test_a_broken_picture_is_named_when_its_turn_comes(pictures: Path) -> None:
    (pictures / "3.png").write_bytes((pictures / "3.png").read_bytes()[:50])
    data = open_calibration(pictures, SPEC, (TENSOR,))
    data.inputs(2)
    with pytest.raises(SourceError, match=r"3\.png"):
        data.inputs(3)


def test_random_inputs_are_the_same_on_every_run() -> None:
    tensors = (TENSOR, TensorSpec("n", "int64", ("a", 2)), TensorSpec("y", "float16", (1, 4)))
    first, second = RandomInputs(tensors, SPEC).inputs(1), RandomInputs(tensors, SPEC).inputs(1)
    assert {name: (a.shape, str(a.dtype)) for name, a in first.items()} == {
        "images": ((1, 3, 32, 32), "float32"),
        "n": ((1, 2), "int64"),
        "y": ((1, 4), "float16"),
    }
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_an_input_that_is_a_single_number_takes_one_per_sample(tmp_path: Path) -> None:
    tensors = (TENSOR, TensorSpec("rate", "int64", ()))
    np.savez(
        tmp_path / "a.npz",
        images=np.zeros((2, 3, 32, 32), np.float32),
        rate=np.array([8000, 16000]),
    )
    data = open_calibration(tmp_path / "a.npz", SPEC, tensors)
    assert len(data) == 2
    assert (data.inputs(1)["rate"].shape, int(data.inputs(1)["rate"])) == ((), 16000)
