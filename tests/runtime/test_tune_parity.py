"""Parity: limits that hold for rounding, and break for faults."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.tune.parity import LIMITS, Answers, all_finite, compare, objects, rank, why_not

BOXES = np.array([[10, 10, 50, 50], [100, 100, 200, 180], [300, 40, 340, 90]], np.float32)
SCORES = np.array([0.9, 0.6, 0.26], np.float32)
CLASSES = np.array([0, 2, 1])


def detections(
    scores: np.ndarray = SCORES, boxes: np.ndarray = BOXES, classes: np.ndarray = CLASSES
) -> Answers:
    raw = np.zeros((1, 7, 20), np.float32)
    raw[0, :4, :3] = boxes.T
    raw[0, 4, :3] = scores
    return Answers((raw,), scores, classes, boxes)


def classes(best: int, score: float = 0.8) -> Answers:
    raw = np.full((1, 4), (1 - score) / 3, np.float32)
    raw[0, best] = score
    return Answers((raw,), raw[0], np.argsort(-raw[0]), None)


def verdict(other: list[Answers], reference: list[Answers], level: int) -> str | None:
    return why_not(compare(reference, other, 0.25, LIMITS[level].score), LIMITS[level])


def test_the_same_answers_are_within_every_limit() -> None:
    for level in LIMITS:
        assert verdict([detections()], [detections()], level) is None
        assert verdict([classes(1)], [classes(1)], level) is None


def test_rounding_is_within_the_limit_and_a_fault_is_not() -> None:
    assert verdict([detections(SCORES + 1e-4)], [detections()], 0) is None
    assert "range" in str(verdict([detections(SCORES + 0.005)], [detections()], 0))


def test_scores_are_judged_apart_from_boxes_that_span_hundreds_of_pixels() -> None:
    """The planted fault: one scale over both leaves boxes as they are and every score at zero."""
    blind = detections(np.zeros(3, np.float32))
    raw = np.abs(blind.outputs[0] - detections().outputs[0]).max() / np.ptp(blind.outputs[0])
    assert raw < 3e-3  # nothing in the joined output tells
    for level in LIMITS:
        assert verdict([blind], [detections()], level) is not None


def test_boxes_are_judged_apart_from_scores_that_look_fine() -> None:
    moved = BOXES + np.array([0, 0, 25, 25], np.float32)
    for level in LIMITS:
        assert verdict([detections(boxes=moved)], [detections()], level) is not None


def test_a_score_beside_the_threshold_is_no_disagreement() -> None:
    below = detections(np.array([0.88, 0.61, 0.24], np.float32))
    assert compare([detections()], [below], 0.25, 0.03)["agreement"] == 1.0
    assert verdict([below], [detections()], 2) is None


def test_a_box_that_falls_well_below_the_threshold_is_missing() -> None:
    """The planted fault: any box of at least half the threshold used to be forgiven."""
    gone = detections(np.array([0.9, 0.6, 0.2], np.float32))
    for one, other in ((detections(), gone), (gone, detections())):
        strict = compare([one], [other], 0.25, 0.03)
        assert strict["agreement"] == pytest.approx(4 / 5)
        assert strict["near"] == 0
        wide = compare([one], [other], 0.25, 0.1)
        assert (wide["agreement"], wide["near"]) == (1.0, 1)
    assert "answers" in str(verdict([gone], [detections()], 1))


def test_objects_that_appear_or_vanish_beside_the_threshold_are_counted() -> None:
    reference = detections(np.array([0.9, 0.24, 0.26], np.float32))
    other = detections(np.array([0.9, 0.26, 0.24], np.float32))
    figures = compare([reference], [other], 0.25, 0.03)
    assert (figures["agreement"], figures["near"]) == (1.0, 2)
    assert compare([reference], [reference], 0.25, 0.03)["near"] == 0
    assert compare([classes(1)], [classes(1)], 0.25, 0.03)["near"] is None


def test_what_is_not_finite_is_found() -> None:
    assert all_finite(detections())
    assert not all_finite(detections(np.array([0.9, np.nan, 0.1], np.float32)))
    assert not all_finite(detections(np.array([0.9, np.inf, 0.1], np.float32)))


def test_boxes_that_only_the_candidate_sees_count_against_it() -> None:
    more = Answers(
        detections().outputs,
        np.array([0.9, 0.8, 0.6, 0.26], np.float32),
        np.array([0, 0, 2, 1]),
        np.insert(BOXES, 1, [400, 400, 450, 450], axis=0).astype(np.float32),
    )
    figures = compare([detections()], [more], 0.25, 0.1)
    assert figures["agreement"] == pytest.approx(6 / 7)
    assert "answers" in str(why_not(figures, LIMITS[2]))


def test_another_class_is_another_answer() -> None:
    other = detections(classes=np.array([0, 0, 1]))
    assert compare([detections()], [other], 0.25, 0.1)["agreement"] == pytest.approx(4 / 6)


def test_best_classes_are_counted() -> None:
    reference = [classes(index % 4) for index in range(10)]
    most = [*reference[:9], classes(0)]
    assert compare(reference, most, 0.0, 0.1)["agreement"] == 0.9
    assert verdict(most, reference, 2) is None
    assert verdict([*reference[:8], classes(3), classes(2)], reference, 2) is not None


@pytest.mark.parametrize("level", LIMITS)
def test_what_is_no_number_breaks_every_limit(level: int) -> None:
    reference = Answers((np.ones((1, 4), np.float32),), None, None, None)
    broken = Answers((np.array([[1, np.nan, 1, 1]], np.float32),), None, None, None)
    assert verdict([broken], [reference], level) is not None


def test_plain_tensors_are_judged_by_their_size() -> None:
    values = np.random.default_rng(0).normal(size=(1, 100)).astype(np.float32)
    reference = Answers((values,), None, None, None)
    noise = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    for level, share in ((0, 1e-4), (1, 1e-2), (2, 3e-2)):
        near = Answers((values + share * noise,), None, None, None)
        far = Answers((values + 100 * share * noise,), None, None, None)
        assert verdict([near], [reference], level) is None
        assert verdict([far], [reference], level) is not None


def test_objects_are_what_the_reference_is_sure_of() -> None:
    assert objects([detections(), detections(SCORES / 2)], 0.25) == 3 + 2


def test_precisions_have_an_order() -> None:
    assert [rank(name) for name in ("fp32", "", "bf16", "fp16", "int8", "int4")] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip
