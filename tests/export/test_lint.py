"""Odd calibration data are told, with numbers; good ones are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.datasets import open_dataset
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec
from edgeinfer_export import export
from edgeinfer_export.quantize import lint as module
from edgeinfer_export.quantize.calibration import open_calibration
from edgeinfer_export.quantize.lint import fed_range, lint

TENSOR = TensorSpec("images", "float32", (1, 3, 32, 32))


@pytest.fixture
def spec(source: Path) -> ModelSpec:
    with open_model(source, LoadOptions(provider="cpu", use_plan=False)) as model:
        return model.spec


def notes(folder: Path, spec: ModelSpec, source: Path, labelled: Path | None = None) -> str:
    samples = open_calibration(folder, spec, (TENSOR,))
    dataset = None if labelled is None else open_dataset(str(labelled))
    return "\n".join(lint(samples, spec, source, dataset))


def test_typical_pictures_are_fine(
    pictures: Path, spec: ModelSpec, source: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FEW", 8)
    assert notes(pictures, spec, source, labelled) == ""


def test_too_few_are_told(pictures: Path, spec: ModelSpec, source: Path) -> None:
    assert "only 8 calibration samples" in notes(pictures, spec, source)


def test_copies_and_likeness_are_told(tmp_path: Path, spec: ModelSpec, source: Path) -> None:
    folder = tmp_path / "alike"
    folder.mkdir()
    grey = np.full((32, 32, 3), 90, np.uint8)
    for at in range(6):
        grey[0, 0] = at // 2
        assert cv2.imwrite(str(folder / f"{at}.png"), grey)
    told = notes(folder, spec, source)
    assert "3 of 6 calibration pictures are exact copies" in told
    assert "all alike (0.0 of 255" in told


def test_leaking_into_the_validation_data_is_told(
    pictures: Path, spec: ModelSpec, source: Path, labelled: Path
) -> None:
    for name in ("100.png", "101.png"):
        picture = cv2.imread(str(labelled.parent / "images" / name))
        # Another name and another format: the pixels count.
        assert cv2.imwrite(str(pictures / f"copy-of-{name[:-4]}.bmp"), picture)
    assert "2 of 12 validation pictures are calibration pictures too" in notes(
        pictures, spec, source, labelled
    )


def test_another_kind_of_pictures_than_the_validation_data_is_told(
    tmp_path: Path, spec: ModelSpec, source: Path, labelled: Path
) -> None:
    folder = tmp_path / "bright"
    folder.mkdir()
    random = np.random.default_rng(0)
    for at in range(8):
        bright = random.integers(150, 256, (32, 32, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{at}.png"), bright)
    told = notes(folder, spec, source, labelled)
    assert "differ in brightness or colour by" in told
    assert "of 255" in told


def test_swapped_colours_are_told(
    tmp_path: Path, pictures: Path, spec: ModelSpec, source: Path
) -> None:
    # The detector answers to pure colours only: cells of orange look red to one who swaps.
    folder = tmp_path / "orange"
    folder.mkdir()
    random = np.random.default_rng(0)
    for at in range(10):
        picture = random.integers(0, 30, (32, 32, 3), np.uint8)
        for spot in random.choice(64, 3, replace=False):
            y, x = divmod(int(spot), 8)
            picture[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = (235, 0, 0)
        assert cv2.imwrite(str(folder / f"{at}.png"), picture)
    told = notes(folder, spec, source)
    assert "red and blue swapped" not in told  # blue is a class as good as red
    blind_to_blue = _without_blue(source, tmp_path / "picky.onnx")
    told = notes(folder, spec, blind_to_blue)
    assert "surer of the calibration pictures with red and blue swapped" in told
    assert 'try "bgr"' in told
    assert "swapped" not in notes(pictures, spec, source)


def _without_blue(source: Path, path: Path) -> Path:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        if tensor.name == "score_b":
            values = numpy_helper.to_array(tensor).copy()
            values[0] = -50
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(path))
    return path


def test_arrays_in_another_range_than_the_spec_are_told(
    tmp_path: Path, spec: ModelSpec, source: Path
) -> None:
    random = np.random.default_rng(0)
    unit = random.uniform(size=(40, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "unit.npz", unit)
    np.savez(tmp_path / "bytes.npz", unit * 255)
    assert notes(tmp_path / "unit.npz", spec, source) == ""
    told = notes(tmp_path / "bytes.npz", spec, source)
    assert "run from" in told
    assert "255" in told
    assert "from 0 to 1" in told
    raw = replace(spec, inputs=(replace(spec.inputs[0], scale=1.0),))
    assert "from 0 to 255" in notes(tmp_path / "unit.npz", raw, source)


def test_what_a_pixel_becomes_follows_the_spec() -> None:
    item = InputSpec("x", size_hw=(8, 8), scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert fed_range(item) == pytest.approx((-1, 1))


def test_the_export_tells_them(source: Path, pictures: Path, tmp_path: Path) -> None:
    done = export(source, tmp_path / "out.onnx", precision="int8", calibration=pictures)
    assert any("only 8 calibration samples" in note for note in done.notes)
