"""Metrics of masks, keypoints, turned boxes and pixels against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeinfer.metrics import (
    DetectionMetric,
    SegmentationMetric,
    mask_iou,
    oks_matrix,
    polygon_iou,
)
from edgeinfer.metrics.keypoints import COCO_SIGMAS
from edgeinfer.results import Mask


def block(x: int, y: int, width: int, height: int) -> Mask:
    return Mask((x, y), np.ones((height, width), bool), (20, 20))


def test_masks_overlap_by_their_pixels() -> None:
    ours = [block(0, 0, 4, 4), block(10, 10, 2, 2)]
    theirs = [block(2, 0, 4, 4), block(10, 10, 2, 2), block(0, 10, 3, 3)]
    # Two columns of four pixels are shared, of 16 + 16 - 8.
    assert mask_iou(ours, theirs).tolist() == [[pytest.approx(8 / 24), 0, 0], [0, 1, 0]]
    assert mask_iou([], theirs).shape == (0, 3)


def test_masks_agree_with_counting_whole_frames() -> None:
    random = np.random.default_rng(7)

    def blob() -> Mask:
        x, y = (int(v) for v in random.integers(0, 12, 2))
        return Mask((x, y), random.random((20 - y, 20 - x)) < 0.5, (20, 20))

    ours, theirs = [blob() for _ in range(6)], [blob() for _ in range(5)]
    for row, one in zip(mask_iou(ours, theirs), ours, strict=True):
        for found, other in zip(row, theirs, strict=True):
            both = (one.whole() & other.whole()).sum()
            assert found == pytest.approx(both / (one.whole() | other.whole()).sum())


def turned(x: float, y: float, width: float, height: float, degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    along = np.array([math.cos(angle), math.sin(angle)]) * width / 2
    across = np.array([-math.sin(angle), math.cos(angle)]) * height / 2
    centre = np.array([x, y])
    return np.stack(
        (centre - along - across, centre + along - across, centre + along + across,
         centre - along + across)
    )  # fmt: skip


def test_turned_boxes_overlap_by_their_common_area() -> None:
    upright, across = turned(10, 10, 8, 2, 0), turned(10, 10, 8, 2, 90)
    half, diamond = turned(12, 10, 8, 2, 0), turned(10, 10, 4, 4, 45)
    found = polygon_iou(np.stack((upright, diamond)), np.stack((across, half, upright)))
    # A cross shares 2 x 2 of 16 + 16; shifted by a quarter, 6 x 2 of 16 + 16.
    assert found[0].tolist() == pytest.approx([4 / 28, 12 / 20, 1])
    # The diamond reaches 2 * sqrt(2) from its middle: between y = 9 and 11 lies its area less two
    # triangles of that reach less 1.
    reach = 2 * math.sqrt(2)
    shared = 16 - 2 * (reach - 1) ** 2
    assert found[1, 2] == pytest.approx(shared / (32 - shared))


def test_turned_boxes_do_not_mind_which_way_round_their_corners_go() -> None:
    a, b = turned(10, 10, 8, 3, 20)[None], turned(11, 10, 8, 3, 50)[None]
    assert polygon_iou(a, b) == pytest.approx(polygon_iou(a[:, ::-1], b))
    assert polygon_iou(a, b[:, [2, 3, 0, 1]]) == pytest.approx(polygon_iou(a, b))
    assert polygon_iou(a, b + 100).tolist() == [[0]]


def test_similarity_falls_with_distance_over_the_objects_size() -> None:
    truth = np.zeros((1, 17, 3))
    truth[0, :2] = [[10, 10, 2], [20, 10, 1]]
    box = np.array([[0, 0, 40, 50]])
    found = np.zeros((1, 17, 2))
    found[0, 0], found[0, 1] = [13, 14], [20, 10]
    # 5 pixels off: exp(-25 / (2 * area * (2 * 0.026)^2)), with 0.53 of the box as area.
    area = 40 * 50 * 0.53
    expected = (math.exp(-25 / (2 * area * (2 * 0.026) ** 2)) + 1) / 2
    assert oks_matrix(found, truth, box)[0, 0] == pytest.approx(expected)
    assert COCO_SIGMAS[0] == 0.026


def test_other_numbers_of_points_have_one_sigma_for_all() -> None:
    truth = np.array([[[10.0, 10, 2], [20, 10, 2]]])
    found = np.array([[[10.0, 10], [20, 15]]])
    box = np.array([[0, 0, 10, 10]])
    expected = (1 + math.exp(-25 / (2 * 53 * (2 * 0.5) ** 2))) / 2
    assert oks_matrix(found, truth, box)[0, 0] == pytest.approx(expected)


def add(metric: DetectionMetric, overlaps: list[list[float]], scores: list[float]) -> None:
    table = np.array(overlaps)
    ids = np.zeros(len(scores), np.int64)
    theirs = np.zeros(table.shape[1], np.int64)
    metric.add_overlaps(np.array(scores), ids, theirs, lambda a, b: table[np.ix_(a, b)])


def test_whatever_makes_objects_alike_is_matched_as_boxes_are() -> None:
    metric = DetectionMetric()
    add(metric, [[0.9, 0.1], [0.2, 0.62]], [0.8, 0.6])
    found = metric.result()
    assert found.map50 == 1
    # Up to 0.6 both hit, up to 0.9 one does: half of the recalls at precision 1 (51 of 101).
    assert found.map50_95 == pytest.approx((3 + 6 * 51 / 101) / 10)


def test_an_object_that_need_not_be_found_is_neither_right_nor_wrong() -> None:
    table = np.array([[0.0, 0.9], [0.9, 0.0], [0.0, 0.0]])
    scores, ids = np.array([0.9, 0.8, 0.1]), np.zeros(3, np.int64)

    def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return table[np.ix_(a, b)]

    metric = DetectionMetric(0.05)
    metric.add_overlaps(scores, ids, np.zeros(2, np.int64), overlap, np.array([False, True]))
    found = metric.result()
    assert (found.map50, found.recall, found.precision) == (1, 1, 0.5)
    strict = DetectionMetric(0.05)
    strict.add_overlaps(scores, ids, np.zeros(1, np.int64), lambda a, b: overlap(a, b))
    # Taken as wrong, the first one halves the precision.
    assert strict.result().map50 == 0.5


def test_at_most_twenty_poses_of_a_picture_count() -> None:
    metric = DetectionMetric(limit=20)
    table = np.zeros((30, 1))
    table[25] = 1
    scores = np.linspace(1, 0.1, 30)
    zeros = np.zeros(30, np.int64)
    metric.add_overlaps(scores, zeros, zeros[:1], lambda a, b: table[np.ix_(a, b)])
    assert metric.result().map50 == 0


def test_pixels_are_counted_over_all_pictures() -> None:
    metric = SegmentationMetric()
    metric.add(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 255]]))
    metric.add(np.array([[2, 2]]), np.array([[2, 0]]))
    found = metric.result()
    # Class 0: right 1 of 1 + 1 + 1; class 1: 1 of 2; class 2: 1 of 2. The 255 counts nowhere.
    assert found.per_class == {0: 1 / 3, 1: 1 / 2, 2: 1 / 2}
    assert found.miou == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert found.pixel_accuracy == 3 / 5


def test_no_labelled_pixel_gives_no_figure() -> None:
    metric = SegmentationMetric()
    metric.add(np.zeros((2, 2), int), np.full((2, 2), 255))
    assert math.isnan(metric.result().miou)
