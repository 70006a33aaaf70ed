"""Pictures of masks, points, turned boxes, class maps, text and anomalies; lines for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.cli.describe import describe
from edgeinfer.draw import annotate, class_color
from edgeinfer.frames import FrameId
from edgeinfer.results import (
    Anomaly,
    ClassMap,
    Embedding,
    Mask,
    Oriented,
    Payload,
    Placement,
    Poses,
    Result,
    Segments,
    Served,
    Tensors,
    TextLines,
)

SERVED = Served("cpu", "ort", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))
BOX = np.array([[40, 50, 140, 150]], np.float32)
ONE, ZERO = np.array([0.9], np.float32), np.zeros(1, np.int64)
DOT = Mask((0, 0), np.ones((1, 1), bool), (2, 2))
GREY = np.full((200, 300, 3), 100, np.uint8)


def a_result(value: Payload) -> Result[Payload]:
    return Result(value, FrameId("x", 0, None, 0, (300, 200)), "any", SERVED, {}, 0, 0)


def test_a_mask_is_tinted_and_the_rest_is_not() -> None:
    mask = Mask((40, 50), np.ones((100, 50), bool), (300, 200))
    drawn = annotate(GREY, a_result(Segments(BOX, ONE, ZERO, ("a",), masks=(mask,))))
    expected = 50 + np.array(class_color(0)) // 2
    assert drawn[100, 60].tolist() == expected.tolist()
    assert drawn[100, 120].tolist() == [100, 100, 100]


def test_points_are_drawn_where_the_model_is_sure() -> None:
    points = np.array([[[80, 100, 0.9], [120, 100, 0.1], [np.nan, 1, 0.9]]], np.float32)
    drawn = annotate(GREY, a_result(Poses(BOX, ONE, ZERO, ("a",), (), points)))
    assert drawn[100, 80].tolist() == list(class_color(1))
    assert drawn[100, 120].tolist() == [100, 100, 100]


def test_a_turned_box_is_drawn_as_it_lies() -> None:
    polygon = np.array([[[90, 50], [140, 100], [90, 150], [40, 100]]], np.float32)
    drawn = annotate(GREY, a_result(Oriented(BOX, ONE, ZERO, ("a",), (), polygon)))
    np.testing.assert_allclose(drawn[125, 65], class_color(0), atol=30)
    assert drawn[100, 90].tolist() == [100, 100, 100]
    assert drawn[149, 139].tolist() == [100, 100, 100]


def test_classes_are_tinted_but_for_the_background() -> None:
    classes = np.zeros((200, 300), np.uint8)
    classes[:, 150:] = 2
    drawn = annotate(GREY, a_result(ClassMap(classes)))
    assert drawn[100, 100].tolist() == [100, 100, 100]
    assert drawn[100, 200].tolist() == (50 + np.array(class_color(2)) // 2).tolist()


def test_lines_of_text_are_outlined() -> None:
    polygon = np.array([[[40, 50], [140, 50], [140, 80], [40, 80]]], np.float32)
    drawn = annotate(GREY, a_result(TextLines(ONE, ("hi",), polygon)))
    assert (drawn != GREY).any(axis=2)[78:82, 60:120].any()
    assert not (annotate(GREY, a_result(TextLines(ONE[:0]))) != GREY).any()


def test_text_and_verdicts_stand_in_the_corner() -> None:
    for value in (TextLines(ONE, ("hi",)), Anomaly(3.0, 2.0)):
        drawn = annotate(GREY, a_result(value))
        assert (drawn != GREY).any(axis=2)[:20, :20].any()
        assert not (drawn != GREY).any(axis=2)[60:].any()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Segments(BOX, ONE, ZERO, ("cat",), masks=(DOT,)), "1 cat"),
        (Poses(BOX[:0], ONE[:0], ZERO[:0]), "nothing"),
        (TextLines(ONE, ("hi",)), "'hi'"),
        (TextLines(ONE, (), np.zeros((1, 4, 2), np.float32)), "1 lines of text"),
        (Anomaly(3.0, 2.0), "3, an anomaly"),
        (Anomaly(1.0), "1, no verdict"),
        (Anomaly(float("nan"), 1.0), "no number, no verdict"),
        (Embedding(np.zeros(5, np.float32)), "a vector of 5"),
        (ClassMap(np.zeros((2, 2), np.uint8), ("sky",)), "sky 100.0%"),
        (Tensors({"out": np.zeros((1, 2), np.float32)}), "out float32 [1, 2]"),
    ],
)
def test_every_result_is_a_line_for_people(value: Any, said: str) -> None:
    assert f"x #0: {said} (" in describe(a_result(value).to_dict())
