"""Pictures of results."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeinfer.draw import annotate, class_color
from edgeinfer.frames import Array, FrameId
from edgeinfer.results import Classes, Detections, Payload, Placement, Result, Served, Tensors

SERVED = Served("cpu", "ort", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))


def a_result(value: Payload) -> Result[Payload]:
    return Result(value, FrameId("x", 0, None, 0, (1, 1)), "any", SERVED, {}, 0, 0)


def boxes(*rows: tuple[float, float, float, float], label: str = "person") -> Result[Payload]:
    count = len(rows)
    return a_result(
        Detections(
            np.array(rows, np.float32).reshape(-1, 4),
            np.linspace(0.9, 0.5, count).astype(np.float32),
            np.zeros(count, np.int64),
            (label,),
        )
    )


def grey(width: int, height: int) -> Array:
    return np.full((height, width, 3), 128, np.uint8)


def changed(before: Array, after: Array) -> Array:
    return (before != after).any(axis=2)


def test_the_picture_itself_is_never_changed() -> None:
    picture = grey(320, 240)
    picture.flags.writeable = False
    drawn = annotate(picture, boxes((50, 60, 200, 180)))
    assert (picture == 128).all()
    assert drawn.flags.writeable and not np.shares_memory(drawn, picture)


def test_a_box_is_drawn_at_its_edges_in_its_colour_and_stays_open() -> None:
    picture = grey(320, 240)
    drawn = annotate(picture, boxes((50, 60, 200, 180)))
    for y, x in ((120, 50), (120, 200), (180, 120), (60, 190)):
        np.testing.assert_allclose(drawn[y, x], class_color(0), atol=12)
    assert not changed(picture, drawn)[70:170, 60:190].any()


@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (3840, 2160)])
def test_lines_and_letters_grow_with_the_picture(size: tuple[int, int]) -> None:
    width, height = size
    picture = grey(width, height)
    box = (width * 0.3, height * 0.4, width * 0.6, height * 0.9)
    marks = changed(picture, annotate(picture, boxes(box)))
    line = marks[height * 7 // 10, : width // 2].sum()
    tag = marks[: int(height * 0.4) - 1].any(axis=1).sum()
    assert max(1, width / 500) <= line <= width / 200 + 2
    assert max(10, height / 50) <= tag <= max(24, height / 15)


@pytest.mark.parametrize(
    "box",
    [
        (-50, -50, 30, 30),
        (300, 220, 400, 300),
        (0, 0, 320, 240),
        (310, 0, 320, 5),
        (-9, 230, 9, 260),
    ],
)
def test_a_tag_stays_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    picture = grey(320, 240)
    drawn = annotate(picture, boxes(box))
    assert drawn.shape == picture.shape
    # The whole tag is there: letters differ from the box's colour and from the picture.
    ink = changed(drawn, np.full_like(drawn, class_color(0))) & changed(picture, drawn)
    assert ink.sum() > 100


@pytest.mark.parametrize(
    "box",
    [
        (400, 10, 500, 20),
        (-50, -50, -5, -5),
        (np.nan, 0, 5, 5),
        (0, 0, np.inf, 5),
        (50, 50, 20, 20),
    ],
)
def test_a_box_outside_or_without_meaning_is_left_out(
    box: tuple[float, float, float, float],
) -> None:
    picture = grey(320, 240)
    np.testing.assert_array_equal(annotate(picture, boxes(box)), picture)


def test_labels_beyond_ascii_can_be_drawn() -> None:
    def tag(label: str) -> Array:
        return annotate(grey(320, 240), boxes((50, 60, 200, 180), label=label))

    np.testing.assert_array_equal(tag("é"), tag("e"))
    np.testing.assert_array_equal(tag("犬"), tag("?"))
    np.testing.assert_array_equal(tag("a\nb"), tag("a?b"))


def test_a_label_wider_than_the_picture_is_cut() -> None:
    drawn = annotate(grey(100, 80), boxes((5, 40, 60, 70), label="a label that goes on " * 5))
    assert changed(grey(100, 80), drawn).any()


def test_classes_are_listed_in_the_corner() -> None:
    picture = grey(224, 224)

    def listed(count: int) -> Array:
        numbers, scores = np.arange(count), np.linspace(0.9, 0.1, count).astype(np.float32)
        return changed(picture, annotate(picture, a_result(Classes(numbers, scores, ("cat",)))))

    one, three = listed(1).any(axis=1).sum(), listed(3).any(axis=1).sum()
    assert listed(1)[0, 0] and three == 3 * one
    assert listed(50).any(axis=1).sum() <= 224


def test_tensors_get_a_header_only() -> None:
    picture = grey(320, 240)
    result = a_result(Tensors({"x": np.zeros(3)}))
    np.testing.assert_array_equal(annotate(picture, result), picture)
    assert changed(picture, annotate(picture, result, header="cpu 3 ms"))[:12, :12].any()


def test_grey_and_tiny_pictures_can_be_drawn_on() -> None:
    drawn = annotate(np.full((240, 320), 128, np.uint8), boxes((50, 60, 200, 180)))
    assert drawn.shape == (240, 320, 3)
    for size in ((1, 1), (3, 40), (40, 3), (16, 16)):
        assert annotate(grey(*size), boxes((0, 0, 9, 9)), header="x").shape == grey(*size).shape


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(TypeError, match="picture"):
        annotate({"x": np.zeros(3)}, boxes())


def test_neighbouring_classes_look_different() -> None:
    colors = [np.array(class_color(number)) for number in range(20)]
    for first, second in itertools.pairwise(colors):
        assert np.abs(first - second).sum() > 100
    assert class_color(3) == class_color(23)
