"""Parity: what is equal passes, and every planted fault is found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer.errors import CheckFailed, ModelFileError
from edgeinfer.frames import Array
from edgeinfer.results import Detections
from edgeinfer_export.quantize.calibration import ArrayCalibration
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.steps.agreement import agreement_notes, pairs
from edgeinfer_export.steps.fields import check_fields
from edgeinfer_export.steps.verify import check_fp32, parity, parity_notes, sample_numbers

INPUTS = ArrayCalibration({"x": np.array([[-2.0, 0.5], [1.0, 2.0]], np.float32)}, {"x": 1})


def write(path: Path, factor: Array, outputs: str = "float[1, 2] y") -> Path:
    name = outputs.split()[-1]
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 2] x) => ({outputs}) {{ {name} = Mul (x, f) }}"""
    )
    model.graph.initializer.append(numpy_helper.from_array(factor.astype(np.float32), "f"))
    onnx.save(model, str(path))
    return path


def test_differences_are_shares_of_the_references_range(tmp_path: Path) -> None:
    # Inputs run from -2 to 2, so the reference's range is 4; one value of four is off by 0.02.
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    b = write(tmp_path / "b.onnx", np.array([1.01, 1]))
    found = parity(Session(a), b, INPUTS)
    assert (found["samples"], found["inputs"]) == (2, "arrays")
    assert found["outputs"]["y"]["max"] == pytest.approx(0.02 / 4, rel=1e-3)
    assert found["outputs"]["y"]["mean"] == pytest.approx((0.02 + 0.01) / 4 / 4, rel=1e-3)


def test_equal_files_pass_and_a_planted_fault_does_not(tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    check_fp32(parity(Session(a), a, INPUTS))
    wrong = parity(Session(a), write(tmp_path / "b.onnx", np.array([1.001, 1])), INPUTS)
    with pytest.raises(CheckFailed, match=r"'y' differs.*0\.0005"):
        check_fp32(wrong)


def test_texts_are_the_same_or_they_are_not(tmp_path: Path) -> None:
    for name, body in (("a", "Identity (x)"), ("b", "Floor (x)")):
        model = onnx.parser.parse_model(
            f"""<ir_version: 8, opset_import: ["" : 17]>
            g (float[1, 2] x) => (string[1, 2] y) {{ z = {body} y = Cast <to = 8> (z) }}"""
        )
        onnx.save(model, str(tmp_path / f"{name}.onnx"))
    a = tmp_path / "a.onnx"
    check_fp32(parity(Session(a), a, INPUTS))
    with pytest.raises(CheckFailed, match="'y' differs"):
        check_fp32(parity(Session(a), tmp_path / "b.onnx", INPUTS))


def test_scores_next_to_zero_are_no_range_to_measure_by(tmp_path: Path) -> None:
    inputs = ArrayCalibration({"x": np.array([[0.0, 1e-5]], np.float32)}, {"x": 1})
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    check_fp32(parity(Session(a), write(tmp_path / "b.onnx", np.array([1, 1.01])), inputs))
    with pytest.raises(CheckFailed):
        check_fp32(parity(Session(a), write(tmp_path / "c.onnx", np.array([1, 1.2])), inputs))


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_no_number_where_the_reference_has_one_is_refused(factor: float, tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    with pytest.raises(CheckFailed, match=r"'y' is infinite or no number"):
        parity(Session(a), write(tmp_path / "b.onnx", np.array([factor, 1])), INPUTS)


def test_a_source_that_gives_no_numbers_is_told(tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    assert parity_notes(parity(Session(a), a, INPUTS)) == ()
    infinite = write(tmp_path / "b.onnx", np.array([math.inf, 1]))
    found = parity(Session(infinite), a, INPUTS)
    assert math.isinf(found["outputs"]["y"]["max"])
    (told,) = parity_notes(found)
    assert "how far y lies" in told
    with pytest.raises(CheckFailed):
        check_fp32(found)


def test_nan_in_the_same_place_is_no_difference(tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([math.nan, 1]))
    check_fp32(parity(Session(a), a, INPUTS))


def test_an_output_that_died_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    with pytest.raises(CheckFailed, match="see nothing"):
        parity(Session(a), write(tmp_path / "b.onnx", np.array([0, 0])), INPUTS)


def test_an_output_that_is_gone_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    b = write(tmp_path / "b.onnx", np.array([1, 1]), "float[1, 2] z")
    with pytest.raises(CheckFailed, match="lacks the output y"):
        parity(Session(a), b, INPUTS)


def test_inputs_that_do_not_fit_name_the_way_out(tmp_path: Path) -> None:
    a = write(tmp_path / "a.onnx", np.array([1, 1]))
    with pytest.raises(ModelFileError, match=r"cannot be run on x \[1, 3\].*--calibration"):
        parity(Session(a), a, ArrayCalibration({"x": np.zeros((1, 3), np.float32)}, {"x": 1}))


def test_samples_are_spread_evenly() -> None:
    assert list(sample_numbers(3, 16)) == [0, 1, 2]
    assert list(sample_numbers(9, 3)) == [0, 4, 8]


def test_detections_are_matched_one_to_one_by_class() -> None:
    box = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    ones = np.ones(3, np.float32)
    wanted = Detections(box, ones, np.array([0, 1, 0]))
    assert len(pairs(wanted, wanted)) == 3
    assert len(pairs(wanted, Detections(box, ones, np.array([0, 0, 0])))) == 2
    assert len(pairs(wanted, Detections(box[:1], ones[:1], np.array([0])))) == 1
    assert len(pairs(wanted, Detections(box[:0], ones[:0], np.array([], np.int64)))) == 0


def test_low_agreement_and_no_agreement_are_told() -> None:
    assert agreement_notes(None) == ()
    assert agreement_notes({"share": 0.95, "pictures": 8}) == ()
    assert "only 43%" in agreement_notes({"share": 0.43, "pictures": 8})[0]
    assert "sees nothing on the 8" in agreement_notes({"share": None, "pictures": 8})[0]


def boxes_and_scores(path: Path, scores: float) -> Path:
    """Four rows of pixels and two of probabilities in one output, as detectors give them."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 6, 3] x) => (float[1, 6, 3] y) { y = Mul (x, f) }"""
    )
    factors = np.array([640, 640, 640, 640, scores, scores], np.float32)[None, :, None]
    model.graph.initializer.append(numpy_helper.from_array(factors, "f"))
    onnx.save(model, str(path))
    return path


def test_scores_that_died_beside_living_boxes_are_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(size=(4, 6, 3)).astype(np.float32)
    data = ArrayCalibration({"x": values}, {"x": 1})
    good = boxes_and_scores(tmp_path / "good.onnx", 1.0)
    blind = boxes_and_scores(tmp_path / "blind.onnx", 0.0)
    check_fields(good, good, data)
    with pytest.raises(CheckFailed, match=r"2 of 6 fields of the output 'y'.*4, 5.*always 0"):
        check_fields(good, blind, data)
    # What never was alive cannot die.
    check_fields(boxes_and_scores(tmp_path / "faint.onnx", 0.01), blind, data)
