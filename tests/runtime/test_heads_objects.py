"""Heads of masks, keypoints and turned boxes against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import SpecError
from edgeinfer.geometry import Affine, fit
from edgeinfer.heads import HEADS, Graph, View, check_options
from edgeinfer.heads.obb import corners, gaussians, prob_iou
from edgeinfer.results import Oriented, Poses, Segments
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

SAME = View(Affine(np.array([[1.0, 0, 0], [0, 1.0, 0]])), (64, 64))


def spec_of(head: str, labels: int = 1, options: dict[str, Any] | None = None) -> ModelSpec:
    return ModelSpec(
        HEADS[head].task,
        head,
        tuple("abc"[:labels]),
        (InputSpec("images", size_hw=(64, 64)),),
        head_options=options or {},
    )


def graph(*shapes: tuple[int | str, ...], **options: Any) -> Graph:
    outputs = tuple(TensorSpec(f"out{i}", "float32", shape) for i, shape in enumerate(shapes))
    return Graph(outputs, (64, 64), options=options)


def poses(output: np.ndarray, view: View = SAME, **options: Any) -> Poses:
    spec = spec_of("yolov8-pose", options=options)
    (found,) = HEADS["yolov8-pose"].decode({"out": output}, (view,), spec)
    assert isinstance(found, Poses)
    return found


def a_person(points: list[float]) -> np.ndarray:
    output = np.zeros((1, 5 + len(points), 84), np.float32)
    output[0, :, 7] = [32, 16, 20, 8, 0.9, *points]
    return output


def test_keypoints_come_with_their_box_in_the_pixels_of_the_frame() -> None:
    # 128x64 into 64x64: half the size, 16 pixels of padding above and below.
    lay = fit((128, 64), (64, 64), "letterbox", "center")
    view = View(lay.to_frame(), (128, 64))
    found = poses(a_person([30, 20, 0.7, 40, 26, 0.2]), view, kpt_shape=[2, 3])
    assert found.boxes_xyxy.tolist() == [[44, 0, 84, 8]]
    assert found.keypoints_xys[0, :, :2].tolist() == [[60, 8], [80, 20]]
    assert found.keypoints_xys[0, :, 2].tolist() == pytest.approx([0.7, 0.2])
    line = found.to_dict()["instances"][0]
    assert (line["label"], line["box_xyxy"]) == ("a", [44.0, 0.0, 84.0, 8.0])
    assert line["keypoints_xys"][0] == pytest.approx([60, 8, 0.7])


def test_keypoints_without_a_number_of_their_own_count_as_sure() -> None:
    found = poses(a_person([30, 20, 40, 26]), kpt_shape=[2, 2])
    assert found.keypoints_xys.tolist() == [[[30, 20, 1], [40, 26, 1]]]


def test_of_overlapping_people_the_better_one_keeps_its_own_points() -> None:
    output = a_person([1, 1, 1])
    output[0, :, 8] = [33, 16, 20, 8, 0.95, 2, 2, 1]
    found = poses(output, kpt_shape=[1, 3])
    assert found.scores.tolist() == pytest.approx([0.95])
    assert found.keypoints_xys[0, 0].tolist() == [2, 2, 1]


def test_end_to_end_poses_are_taken_as_they_are() -> None:
    output = np.zeros((1, 300, 9), np.float32)
    output[0, 4] = [1, 2, 30, 40, 0.8, 0, 5, 6, 0.5]
    found = poses(output, kpt_shape=[1, 3], end2end=True)
    assert found.boxes_xyxy.tolist() == [[1, 2, 30, 40]]
    assert found.keypoints_xys.tolist() == [[[5, 6, 0.5]]]


def test_coco_people_are_known_by_their_shape_and_others_must_be_told() -> None:
    head = HEADS["yolov8-pose"]
    assert head.why_not(graph((1, 56, 84))) is None
    assert head.classes(graph((1, 56, 84))) == 1
    assert "kpt_shape" in str(head.why_not(graph((1, 14, 84))))
    assert head.why_not(graph((1, 14, 84), kpt_shape=[3, 3])) is None
    assert head.classes(graph((1, 16, 84), kpt_shape=[3, 3])) == 3
    assert "14 values" in str(head.why_not(graph((1, 8, 84), kpt_shape=[3, 3])))


def test_a_keypoint_that_is_no_number_is_flagged() -> None:
    found = poses(a_person([np.nan, 20, 1]), kpt_shape=[1, 3])
    assert (len(found), found.flags) == (1, ("nonfinite",))


def test_a_blind_pose_model_finds_nothing_and_says_no_more() -> None:
    found = poses(np.zeros((1, 56, 84), np.float32))
    assert found.to_dict() == {"instances": []}
    assert found.keypoints_xys.shape == (0, 17, 3)


def segments(
    predictions: np.ndarray, maps: np.ndarray, view: View = SAME, **options: Any
) -> Segments:
    spec = spec_of("yolov8-seg", labels=2, options=options)
    outputs = {"protos": maps, "boxes": predictions}
    (found,) = HEADS["yolov8-seg"].decode(outputs, (view,), spec)
    assert isinstance(found, Segments)
    return found


def test_a_mask_is_where_the_mixture_is_positive_inside_the_box() -> None:
    # Prototypes at a quarter of the input: the first is +1 in its left half, -1 in the right.
    maps = np.ones((1, 2, 16, 16), np.float32)
    maps[0, 0, :, 8:] = -1
    predictions = np.zeros((1, 4 + 2 + 2, 84), np.float32)
    predictions[0, :, 3] = [32, 32, 40, 20, 0, 0.9, 2, 0]
    found = segments(predictions, maps)
    assert found.class_ids.tolist() == [1]
    whole = found.masks[0].whole()
    assert whole.shape == (64, 64)
    # The box is 12..52 by 22..42; the mixture changes its sign in the middle, at 32.
    expected = np.zeros((64, 64), bool)
    expected[22:42, 12:32] = True
    assert (whole == expected).all()


def bilinear(values: np.ndarray, x: float, y: float) -> float:
    height, width = values.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    x0, y0 = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - x0, y - y0
    top = values[y0, x0] * (1 - fx) + values[y0, x0 + 1] * fx
    bottom = values[y0 + 1, x0] * (1 - fx) + values[y0 + 1, x0 + 1] * fx
    return float(top * (1 - fy) + bottom * fy)


def test_masks_agree_with_slow_interpolation_in_a_letterboxed_frame() -> None:
    random = np.random.default_rng(5)
    maps = random.normal(size=(1, 3, 16, 16)).astype(np.float32)
    weights = random.normal(size=3).astype(np.float32)
    predictions = np.zeros((1, 4 + 2 + 3, 84), np.float32)
    predictions[0, :, 0] = [30.3, 33.1, 35.7, 21.2, 0.8, 0, *weights]
    lay = fit((150, 90), (64, 64), "letterbox", "center").to_frame()
    found = segments(predictions, maps, View(lay, (150, 90)))
    mixed = np.tensordot(weights, maps[0], axes=1)
    (sx, _, tx), (_, sy, ty) = lay.matrix.tolist()
    x0, y0, x1, y1 = found.boxes_xyxy[0].tolist()
    got, wrong, counted = found.masks[0].whole(), 0, 0
    for row in range(90):
        for column in range(150):
            inside = x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1
            u, v = (column + 0.5 - tx) / sx / 4 - 0.5, (row + 0.5 - ty) / sy / 4 - 0.5
            wanted = inside and bilinear(mixed, u, v) > 0
            counted += inside
            wrong += bool(got[row, column]) != wanted
    # warpAffine knows 1/32 of a map's pixel: a few pixels on the border may fall otherwise.
    assert counted > 2000
    assert wrong <= 0.01 * counted


def test_end_to_end_segments_keep_the_weights_of_their_rows() -> None:
    maps = np.ones((1, 2, 16, 16), np.float32)
    rows = np.zeros((1, 300, 8), np.float32)
    rows[0, 0] = [4, 4, 20, 20, 0.5, 1, 1, 0]
    rows[0, 1] = [30, 30, 40, 50, 0.7, 0, -1, 0]
    found = segments(rows, maps, end2end=True)
    assert found.scores.tolist() == pytest.approx([0.7, 0.5])
    assert [mask.area for mask in found.masks] == [0, 16 * 16]


def test_a_box_outside_the_frame_has_an_empty_mask() -> None:
    maps = np.ones((1, 2, 16, 16), np.float32)
    predictions = np.zeros((1, 8, 84), np.float32)
    predictions[0, :, 0] = [-30, 32, 20, 20, 0.9, 0, 1, 1]
    found = segments(predictions, maps)
    assert found.masks[0].area == 0
    assert found.to_dict()["instances"][0]["mask_rle"]["size"] == [64, 64]


def test_segment_shapes_must_fit_each_other() -> None:
    head = HEADS["yolov8-seg"]
    assert head.why_not(graph((1, 116, 84), (1, 32, 16, 16))) is None
    assert head.classes(graph((1, 116, 84), (1, 32, 16, 16))) == 80
    assert "37 rows" in str(head.why_not(graph((1, 36, 84), (1, 32, 16, 16))))
    assert "3 and one of 4" in str(head.why_not(graph((1, 116, 84))))


def oriented(output: np.ndarray, view: View = SAME, **options: Any) -> Oriented:
    spec = spec_of("yolov8-obb", labels=2, options=options)
    (found,) = HEADS["yolov8-obb"].decode({"out": output}, (view,), spec)
    assert isinstance(found, Oriented)
    return found


def test_a_turned_box_has_its_four_corners() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [32, 30, 20, 10, 0, 0.9, math.pi / 2]
    found = oriented(output)
    assert found.class_ids.tolist() == [1]
    assert sorted(np.round(found.polygons_xy[0]).tolist()) == [
        [27, 20],
        [27, 40],
        [37, 20],
        [37, 40],
    ]
    assert np.round(found.boxes_xyxy[0]).tolist() == [27, 20, 37, 40]
    assert len(found.to_dict()["instances"][0]["polygon_xy"]) == 4


def test_corners_of_a_box_at_thirty_degrees() -> None:
    (found,) = corners(np.array([[0, 0, 4, 2, math.pi / 6]], np.float32))
    half = math.sqrt(3) / 2
    # (2, 1) turned by 30 degrees is (2 * cos - 1 * sin, 2 * sin + 1 * cos).
    assert found[2].tolist() == pytest.approx([2 * half - 0.5, 1 + half], abs=1e-6)


def test_crossed_boxes_both_stay_and_copies_go() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [32, 30, 40, 4, 0.9, 0, 0]
    output[0, :, 1] = [32, 30, 40, 4, 0.8, 0, math.pi / 2]
    output[0, :, 2] = [32.5, 30, 40, 4, 0.7, 0, 0.01]
    assert oriented(output).scores.tolist() == pytest.approx([0.9, 0.8])


def test_overlap_of_gaussians_is_one_for_equals_and_none_far_away() -> None:
    box = np.array([10, 10, 8, 4, 0.3], np.float32)
    others = np.array([box, [500, 10, 8, 4, 0.3], [10, 10, 4, 8, 0.3 + math.pi / 2]], np.float32)
    found = prob_iou(gaussians(box[None])[0], gaussians(others))
    assert found.tolist() == pytest.approx([1, 0, 1], abs=2e-3)


def test_overlap_of_gaussians_agrees_with_the_distance_worked_out_by_matrices() -> None:
    random = np.random.default_rng(2)
    boxes = random.uniform([0, 0, 4, 4, -2], [20, 20, 12, 12, 2], (20, 5)).astype(np.float32)

    def gaussian(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, w, h, angle = box.astype(np.float64)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.array([x, y]), turn @ np.diag([w * w / 12, h * h / 12]) @ turn.T

    mean, spread = gaussian(boxes[0])
    shapes = gaussians(boxes)
    for box, found in zip(boxes[1:], prob_iou(shapes[0], shapes[1:]), strict=True):
        other_mean, other = gaussian(box)
        both = (spread + other) / 2
        apart = mean - other_mean
        near = apart @ np.linalg.inv(both) @ apart / 8
        dets = np.linalg.det(spread) * np.linalg.det(other)
        alike = math.log(np.linalg.det(both) / math.sqrt(dets)) / 2
        hellinger = math.sqrt(1 - math.exp(-(near + alike)))
        assert found == pytest.approx(1 - hellinger, abs=1e-4)


def test_end_to_end_turned_boxes_carry_the_angle_last() -> None:
    output = np.zeros((1, 300, 7), np.float32)
    output[0, 0] = [32, 30, 20, 10, 0.5, 1, 0]
    found = oriented(output, end2end=True)
    assert found.polygons_xy[0].tolist() == [[22, 25], [42, 25], [42, 35], [22, 35]]
    assert found.class_ids.tolist() == [1]


def test_only_wanted_classes_are_reported() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [32, 30, 20, 10, 0.9, 0, 0]
    output[0, :, 1] = [10, 30, 20, 10, 0, 0.8, 0]
    spec = ModelSpec("obb", "yolov8-obb", ("a", "b"), keep_classes=(1,))
    (found,) = HEADS["yolov8-obb"].decode({"out": output}, (SAME,), spec)
    assert isinstance(found, Oriented)
    assert found.class_ids.tolist() == [1]


def test_outputs_that_turn_out_otherwise_are_an_error_and_no_nonsense() -> None:
    with pytest.raises(SpecError, match=r"\[1, 8, 84\].*too few"):
        poses(np.zeros((1, 8, 84), np.float32), kpt_shape=[17, 3])
    with pytest.raises(SpecError, match="do not fit each other"):
        segments(np.zeros((1, 8, 84), np.float32), np.zeros((1, 32, 16, 16), np.float32))


@pytest.mark.parametrize(
    ("head", "options", "said"),
    [
        ("yolov8-pose", {"kpt_shape": [17]}, "keypoints, 2 or 3"),
        ("yolov8-pose", {"kpt_shape": [17, 4]}, "keypoints, 2 or 3"),
        ("yolov8-pose", {"end2end": "yes"}, "true or false"),
        ("semantic", {"layout": "chw"}, "nchw or nhwc"),
        ("semantic", {"activation": "softmax"}, "none or sigmoid"),
        ("ssd", {"activation": "relu"}, "none or sigmoid or softmax"),
        ("ctc", {"blank": -1}, "a class number or 'last'"),
        ("ctc", {"time_axis": 2}, "0 or 1"),
        ("db", {"unclip": 0}, "above 0"),
        ("db", {"binary": float("nan")}, "above 0"),
        ("ssd", {"maps": [[10**5, 10**5]]}, "rows, columns"),
        ("ssd", {"anchors": [[1, 2, 3]]}, "cx, cy, w, h"),
        ("ssd", {"variances": [1, 2]}, "four numbers"),
        ("ssd", {"sizes": "x"}, "lists of numbers"),
        ("yolov3", {"anchors": [[1, 2]]}, "each output"),
        ("yolov3", {"scale_xy": []}, "a list of them"),
        ("nanodet", {"strides": [0]}, "whole numbers above 0"),
        ("nanodet", {"classes": True}, "whole number above 0"),
        ("scrfd", {"anchors": [2]}, "whole number above 0"),
        ("embed", {"output": 1}, "an output's name"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused(
    head: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=f"'{next(iter(options))}'.*{said}"):
        check_options(head, options)


def test_an_option_that_a_head_does_not_take_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match="Did you mean 'kpt_shape'"):
        check_options("yolov8-pose", {"kpt_shapes": [17, 3]})
    with pytest.raises(SpecError, match="takes none"):
        check_options("yolov8", {"anchors": []})
