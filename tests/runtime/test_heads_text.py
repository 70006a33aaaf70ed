"""Heads of text, vectors and class numbers against what is worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import SpecError
from edgeinfer.geometry import Affine
from edgeinfer.heads import HEADS, Graph, View
from edgeinfer.results import Classes, Embedding, TextLines
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

SAME = View(Affine(np.array([[1.0, 0, 0], [0, 1.0, 0]])), (64, 64))


def read(output: np.ndarray, labels: str | tuple[str, ...] = "ab", **options: Any) -> TextLines:
    inputs = (InputSpec("images", size_hw=(48, 320)),)
    spec = ModelSpec("text-recognize", "ctc", tuple(labels), inputs, head_options=options)
    (found,) = HEADS["ctc"].decode({"out": output}, (SAME,), spec)
    assert isinstance(found, TextLines)
    return found


def steps(*best: int, classes: int = 3, sure: float = 0.8) -> np.ndarray:
    """Probabilities `(1, T, C)` whose best class at each step is given."""
    output = np.full((1, len(best), classes), (1 - sure) / (classes - 1), np.float32)
    output[0, np.arange(len(best)), best] = sure
    return output


def test_repetitions_are_merged_and_blanks_part_them() -> None:
    found = read(steps(0, 1, 1, 0, 1, 2, 2, 0))
    assert found.texts == ("aab",)
    assert found.scores.tolist() == pytest.approx([0.8])
    assert found.to_dict() == {"lines": [{"score": pytest.approx(0.8), "text": "aab"}]}


def test_the_blank_may_be_the_last_class_or_any() -> None:
    assert read(steps(0, 2, 0, 1, 2), blank="last").texts == ("aab",)
    assert read(steps(0, 1, 0, 2, 1), blank=1).texts == ("aab",)


def test_a_charset_may_leave_out_the_blank_and_a_space() -> None:
    assert read(steps(1, 2, classes=3), labels=("", "a", "b")).texts == ("ab",)
    assert read(steps(1, 3, 2, classes=4), labels=("a", "b")).texts == ("a b",)
    assert read(steps(1, 2, classes=3), labels=("a", "")).texts == ("a ",)
    with pytest.raises(SpecError, match="9 classes.*2 labels"):
        read(steps(1, classes=9))


def test_time_may_come_first() -> None:
    output = steps(1, 0, 2).transpose(1, 0, 2)
    assert read(output).texts == ("ab",)
    assert read(output, time_axis=0).texts == ("ab",)


def test_logits_and_their_logarithms_score_as_probabilities_do() -> None:
    output = steps(1, 2)
    for raw in (np.log(output), np.log(output) + 3):
        assert read(raw).scores.tolist() == pytest.approx([0.8], abs=1e-6)


def test_nothing_but_blanks_is_no_line() -> None:
    assert read(steps(0, 0, 0)).to_dict() == {"lines": []}


def test_a_blank_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError, match="blank is class 7"):
        read(steps(1, 2), blank=7)


def test_vectors_are_taken_as_they_are_or_brought_to_length_one() -> None:
    output = np.array([3, 4], np.float16).reshape(1, 2, 1, 1)
    for options, wanted in (({}, [3, 4]), ({"normalize": True}, [0.6, 0.8])):
        spec = ModelSpec("embed", "embed", head_options=options)
        (found,) = HEADS["embed"].decode({"out": output}, (SAME,), spec)
        assert isinstance(found, Embedding)
        assert found.vector.tolist() == pytest.approx(wanted)
        assert found.vector.dtype == np.float32


def test_one_of_several_outputs_may_be_the_vector() -> None:
    outputs = tuple(TensorSpec(name, "float32", (1, 8)) for name in "xy")
    assert "output" in str(HEADS["embed"].why_not(Graph(outputs, None)))
    assert HEADS["embed"].why_not(Graph(outputs, None, options={"output": "y"})) is None
    assert "x, y" in str(HEADS["embed"].why_not(Graph(outputs, None, options={"output": "z"})))


def test_class_numbers_are_the_one_answer() -> None:
    spec = ModelSpec("classify", "class-ids", ("a", "b", "c"))
    (found,) = HEADS["class-ids"].decode({"out": np.array([2])}, (SAME,), spec)
    assert isinstance(found, Classes)
    assert found.to_dict()["classes"] == [{"label": "c", "class_id": 2, "score": 1.0}]
    (none,) = HEADS["class-ids"].decode({"out": np.array([-1])}, (SAME,), spec)
    assert none.to_dict() == {"classes": []}
    outputs = (TensorSpec("out", "float32", ("batch",)),)
    assert "whole numbers" in str(HEADS["class-ids"].why_not(Graph(outputs, None)))
