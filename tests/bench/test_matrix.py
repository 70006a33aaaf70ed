"""Models times providers times precisions: which cells there are, and what they are called."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import edgeinfer_export
from edgeinfer.errors import ModelFileError, UsageError
from edgeinfer.model import LoadOptions
from edgeinfer_bench.matrix import cells_of, split_arguments

DATA = Path(__file__).resolve().parents[2] / "edgeinfer/cli/demo_data"
DIGITS, CONVEYOR = DATA / "digits.onnx", DATA / "conveyor.mp4"


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The digits in two precisions, the one exported from the other."""
    folder = tmp_path_factory.mktemp("family")
    source, half = folder / "digits.onnx", folder / "whatever.onnx"
    shutil.copy(DIGITS, source)
    edgeinfer_export.export(source, half, precision="fp16")
    return {"fp32": source, "fp16": half}


def test_models_and_the_source_are_told_apart(tmp_path: Path) -> None:
    disguised = tmp_path / "model.bin"
    shutil.copy(DIGITS, disguised)
    rest = ["not-there.onnx", str(CONVEYOR), str(disguised)]
    assert split_arguments(rest) == ([Path("not-there.onnx"), disguised], str(CONVEYOR))
    assert split_arguments([]) == ([], None)
    assert split_arguments(["synthetic:64x48"]) == ([], "synthetic:64x48")


def test_two_sources_are_refused() -> None:
    with pytest.raises(UsageError, match=r"2 were given \(a\.mp4, b\.png\)"):
        split_arguments(["a.mp4", "m.onnx", "b.png"])


def test_one_model_is_one_cell_as_it_is() -> None:
    options = LoadOptions(provider="cpu", threads=2)
    (cell,) = cells_of([DIGITS], options)
    assert (cell.label, cell.path, cell.options) == ("digits", DIGITS, options)


def test_labels_hold_what_differs_and_differ(tmp_path: Path) -> None:
    again = tmp_path / "digits.onnx"
    shutil.copy(DIGITS, again)
    assert [c.label for c in cells_of([DIGITS, again], LoadOptions())] == ["digits", "digits (2)"]
    cells = cells_of([DIGITS], LoadOptions(), providers=["cpu", "openvino"])
    assert [(c.label, c.options.provider) for c in cells] == [
        ("digits cpu", "cpu"),
        ("digits openvino", "openvino"),
    ]


def test_one_provider_is_no_part_of_the_label_and_twice_is_once() -> None:
    (cell,) = cells_of([DIGITS], LoadOptions(), providers=["cpu", "cpu"])
    assert (cell.label, cell.options.provider) == ("digits", "cpu")


def test_precisions_are_found_by_the_hash_of_their_source_whatever_they_are_called(
    family: Mapping[str, Path],
) -> None:
    cells = cells_of([family["fp32"]], LoadOptions(), precisions=["fp16", "fp32", "fp16"])
    assert [(c.label, c.path) for c in cells] == [
        ("digits fp16", family["fp16"]),
        ("digits fp32", family["fp32"]),
    ]


def test_a_variant_elsewhere_is_named(family: Mapping[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "digits.onnx"
    shutil.copy(DIGITS, alone)
    with pytest.raises(UsageError, match=r"no variant in fp16.*Known: fp32"):
        cells_of([alone], LoadOptions(), precisions=["fp16"])
    options = LoadOptions(variants=(family["fp16"],))
    cells = cells_of([alone], options, precisions=["fp32", "fp16"])
    assert [cell.path for cell in cells] == [alone, family["fp16"]]


def test_models_providers_and_precisions_multiply(family: Mapping[str, Path]) -> None:
    cells = cells_of(
        [family["fp32"], family["fp16"]], LoadOptions(), ["cpu", "auto"], ["fp32", "fp16"]
    )
    assert [cell.label for cell in cells] == [
        f"{stem} {precision} {provider}"
        for stem in ("digits", "whatever")
        for precision in ("fp32", "fp16")
        for provider in ("cpu", "auto")
    ]


def test_a_precision_that_is_not_there_is_refused_with_a_suggestion(
    family: Mapping[str, Path],
) -> None:
    with pytest.raises(UsageError, match=r"no variant in fp61.*'fp16'.*--variant"):
        cells_of([family["fp32"]], LoadOptions(), precisions=["fp61"])
    with pytest.raises(UsageError, match=r"no variant in int8.*Known: fp32, fp16"):
        cells_of([family["fp32"]], LoadOptions(), precisions=["int8"])


def test_a_file_that_is_no_variant_is_refused(family: Mapping[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(DIGITS.read_bytes() + b"\x12\x00")  # the producer's name, empty
    options = LoadOptions(variants=(other,))
    with pytest.raises(ModelFileError, match="is no variant"):
        cells_of([family["fp32"]], options, precisions=["fp32"])


def test_a_stored_plan_is_used_by_one_alone(family: Mapping[str, Path]) -> None:
    assert cells_of([DIGITS], LoadOptions())[0].options.use_plan
    assert not cells_of([DIGITS], LoadOptions(use_plan=False))[0].options.use_plan
    assert not any(c.options.use_plan for c in cells_of([DIGITS, DIGITS], LoadOptions()))
    for wanted in (["fp32", "fp16"], ["fp16"]):  # a plan could run another precision
        cells = cells_of([family["fp32"]], LoadOptions(), precisions=wanted)
        assert not any(c.options.use_plan for c in cells)


def test_no_more_than_can_be_open_at_once() -> None:
    assert len(cells_of([DIGITS] * 32, LoadOptions())) == 32
    with pytest.raises(UsageError, match=r"33 models.*at most 32"):
        cells_of([DIGITS] * 33, LoadOptions())


def test_a_missing_file_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="none.onnx does not exist"):
        cells_of([DIGITS, tmp_path / "none.onnx"], LoadOptions())
