"""Heads that read maps: classes of pixels, text regions, keypoints, anomalies."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from edgeinfer.errors import SpecError
from edgeinfer.geometry import Affine, fit
from edgeinfer.heads import HEADS, Graph, View
from edgeinfer.results import Anomaly, ClassMap, Poses, TextLines
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

SAME = View(Affine(np.array([[1.0, 0, 0], [0, 1.0, 0]])), (8, 8))


def spec_of(
    head: str, hw: tuple[int, int], options: dict[str, Any], labels: int = 3, **thresholds: float
) -> ModelSpec:
    inputs = (InputSpec("images", size_hw=hw),)
    names = tuple("abcdef"[:labels])
    task = HEADS[head].task
    return ModelSpec(task, head, names, inputs, thresholds=thresholds, head_options=options)


def classes(output: np.ndarray, view: View = SAME, hw: tuple[int, int] = (8, 8), **o: Any) -> Any:
    (found,) = HEADS["semantic"].decode({"out": output}, (view,), spec_of("semantic", hw, o))
    assert isinstance(found, ClassMap)
    return found


def graph(shape: tuple[int | str, ...], dtype: str = "float32", **options: Any) -> Graph:
    return Graph((TensorSpec("out", dtype, shape),), (64, 64), options=options)


def test_the_best_class_of_each_pixel_counts() -> None:
    scores = np.zeros((1, 3, 8, 8), np.float32)
    scores[0, 2, :, 4:] = 1
    scores[0, 1, 6:] = 2
    found = classes(scores)
    expected = np.zeros((8, 8), int)
    expected[:, 4:] = 2
    expected[6:] = 1
    assert found.class_ids.tolist() == expected.tolist()
    areas = found.to_dict()["areas"]
    assert [(a["label"], a["pixels"]) for a in areas] == [("a", 24), ("c", 24), ("b", 16)]
    assert areas[0]["share"] == 0.375


def test_maps_come_back_over_the_frame_past_the_padding() -> None:
    # 16x8 into 8x8: half the size, two rows of padding above and below.
    lay = fit((16, 8), (8, 8), "letterbox", "center")
    numbers = np.zeros((1, 8, 8), np.int64)
    numbers[0, 2:4] = 1  # the upper half of the picture
    numbers[0, :2] = numbers[0, 6:] = 2  # padding
    found = classes(numbers, View(lay.to_frame(), (16, 8)))
    assert found.class_ids.shape == (8, 16)
    assert (found.class_ids[:4] == 1).all() and (found.class_ids[4:] == 0).all()


def test_class_numbers_are_taken_as_they_are_in_every_layout() -> None:
    numbers = np.arange(64).reshape(1, 8, 8) % 5
    for output in (numbers, numbers[:, None], numbers[:, None].astype(np.uint8)):
        assert classes(output).class_ids.tolist() == numbers[0].tolist()
    with pytest.raises(SpecError, match="-1"):
        classes(numbers - 1)


def test_scores_in_the_last_dimension() -> None:
    scores = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    nhwc = scores.transpose(0, 2, 3, 1)
    assert classes(nhwc, layout="nhwc").class_ids.tolist() == classes(scores).class_ids.tolist()
    assert HEADS["semantic"].classes(graph((1, 8, 8, 5), layout="nhwc")) == 5


def test_coarse_scores_are_made_fine_before_the_best_is_taken() -> None:
    random = np.random.default_rng(3)
    scores = random.normal(size=(1, 4, 2, 2)).astype(np.float32)
    fine = np.stack([cv2.resize(plane, (8, 8)) for plane in scores[0]])
    assert classes(scores).class_ids.tolist() == fine.argmax(axis=0).tolist()
    coarse = np.kron(scores[0].argmax(axis=0), np.ones((4, 4), int))
    assert classes(scores, upsample="nearest").class_ids.tolist() == coarse.tolist()


@pytest.mark.parametrize("count", [7, 300])
def test_the_best_of_many_classes_is_what_argmax_says(count: int) -> None:
    random = np.random.default_rng(count)
    scores = random.integers(0, 50, (1, count, 8, 8)).astype(np.float16)
    assert classes(scores).class_ids.tolist() == scores[0].argmax(axis=0).tolist()


def test_a_single_map_is_an_object_on_a_background() -> None:
    scores = np.full((1, 1, 8, 8), 0.4, np.float32)
    scores[0, 0, 2:4] = 0.6
    assert classes(scores).class_ids.sum() == 16
    logits = np.log(scores / (1 - scores))
    assert classes(logits, activation="sigmoid").class_ids.sum() == 16
    assert HEADS["semantic"].classes(graph((1, 1, 64, 64))) == 2


def test_scores_that_are_no_numbers_are_flagged() -> None:
    scores = np.zeros((1, 3, 8, 8), np.float32)
    scores[0, 1, 0, 0] = np.nan
    assert classes(scores).flags == ("nonfinite",)


def test_semantic_says_why_a_shape_is_none() -> None:
    head = HEADS["semantic"]
    assert head.why_not(graph((1, 21, 64, 64))) is None
    assert head.why_not(graph((1, 64, 64), "int64")) is None
    assert "class numbers" in str(head.why_not(graph((1, 64, 64))))
    assert "coarse" in str(head.why_not(graph((1, 21, 5, 5))))


def lines(output: np.ndarray, **options: Any) -> TextLines:
    spec = spec_of("db", output.shape[2:], options, labels=0)
    height, width = output.shape[2:]
    view = View(SAME.to_frame, (width, height))
    (found,) = HEADS["db"].decode({"out": output}, (view,), spec)
    assert isinstance(found, TextLines)
    return found


def test_a_text_region_grows_by_its_area_over_its_perimeter() -> None:
    output = np.zeros((1, 1, 96, 128), np.float32)
    output[0, 0, 40:51, 20:81] = 0.9
    found = lines(output)
    # Between the centres of its border pixels it is 60 by 10; it grows by 600 * 1.5 / 140.
    grow = 60 * 10 * 1.5 / (2 * (60 + 10))
    assert found.polygons_xy is not None
    assert found.polygons_xy[0].tolist() == pytest.approx(
        np.array(
            [
                [20.5 - grow, 40.5 - grow],
                [80.5 + grow, 40.5 - grow],
                [80.5 + grow, 50.5 + grow],
                [20.5 - grow, 50.5 + grow],
            ]
        ),
        abs=1e-3,
    )
    assert found.scores.tolist() == pytest.approx([0.9], abs=1e-5)
    assert list(found.to_dict()["lines"][0]) == ["score", "polygon_xy"]


def test_weak_and_tiny_regions_are_no_text() -> None:
    output = np.zeros((1, 1, 96, 128), np.float32)
    output[0, 0, 10:20, 10:60] = 0.5  # passes 0.3, but its mean does not pass 0.6
    output[0, 0, 40:42, 10:60] = 0.9  # a single pixel between its border's centres
    assert len(lines(output)) == 0
    assert lines(np.zeros((1, 1, 96, 128), np.float32)).to_dict() == {"lines": []}


def test_a_turned_line_keeps_its_turn() -> None:
    output = np.zeros((1, 1, 96, 128), np.float32)
    rectangle = cv2.boxPoints(((64, 48), (60, 12), 30)).astype(np.int32)
    cv2.fillPoly(output[0, 0], [rectangle], 0.95)
    found = lines(output)
    assert found.polygons_xy is not None and len(found) == 1
    left, right = found.polygons_xy[0, 0], found.polygons_xy[0, 1]
    angle = math.degrees(math.atan2(right[1] - left[1], right[0] - left[0]))
    assert angle == pytest.approx(30, abs=2)


def test_lines_come_from_top_to_bottom() -> None:
    output = np.zeros((1, 1, 96, 128), np.float32)
    output[0, 0, 60:70, 10:60] = 0.95
    output[0, 0, 10:20, 10:60] = 0.7
    found = lines(output)
    assert found.scores.tolist() == pytest.approx([0.7, 0.95], abs=1e-5)


def test_heatmap_points_lean_to_the_larger_neighbour() -> None:
    maps = np.zeros((1, 2, 8, 8), np.float32)
    maps[0, 0, 3, 4], maps[0, 0, 3, 5], maps[0, 0, 2, 4] = 1, 0.5, 0.25
    maps[0, 1, 0, 7] = 0.8
    (found,) = HEADS["heatmap"].decode(
        {"out": maps},
        (View(SAME.to_frame, (32, 32)),),
        spec_of("heatmap", (32, 32), {}, labels=0),
    )
    assert isinstance(found, Poses)
    # (4 + 0.25 + 0.5) * 4, (3 - 0.25 + 0.5) * 4; the second lies at the corner, with no neighbour.
    assert found.keypoints_xys[0].tolist() == pytest.approx(
        np.array([[19, 13, 1], [30, 2, 0.8]]), abs=1e-5
    )
    assert found.scores.tolist() == pytest.approx([0.9])


def anomaly(head: str, output: np.ndarray, fed: np.ndarray | None = None, **kw: float) -> Anomaly:
    view = View(SAME.to_frame, (8, 8), {} if fed is None else {"in": fed})
    (found,) = HEADS[head].decode({"out": output}, (view,), spec_of(head, (8, 8), {}, **kw))
    assert isinstance(found, Anomaly)
    return found


def test_the_largest_place_of_a_map_is_the_score() -> None:
    output = np.zeros((1, 1, 8, 8), np.float32)
    output[0, 0, 3, 3] = 2.5
    found = anomaly("anomaly-map", output, anomaly=2.5)
    assert (found.score, found.is_anomaly) == (2.5, True)
    assert anomaly("anomaly-map", output[0], anomaly=2.6).is_anomaly is False
    assert anomaly("anomaly-map", output).to_dict() == {"anomaly_score": 2.5, "is_anomaly": None}


def test_a_reconstruction_is_scored_by_its_mean_squared_difference() -> None:
    fed = np.arange(6, dtype=np.float32).reshape(2, 3)
    output = fed + np.array([[1, 0, 0], [0, 2, 0]], np.float32)
    assert anomaly("reconstruction", output, fed).score == pytest.approx(5 / 6)
    with pytest.raises(SpecError, match=r"\[2, 3\].*\[6\]"):
        anomaly("reconstruction", output, fed.ravel())


def test_a_score_that_is_no_number_is_flagged() -> None:
    assert anomaly("anomaly-score", np.array([[np.nan]], np.float32)).flags == ("nonfinite",)
    assert anomaly("anomaly-score", np.array([0.5], np.float32), score=0.4).is_anomaly is True


def test_anomaly_heads_tell_their_shapes_apart() -> None:
    inputs = (TensorSpec("in", "float32", (1, 3, 64, 64)),)

    def fits(shape: tuple[int, ...]) -> set[str]:
        item = Graph((TensorSpec("out", "float32", shape),), (64, 64), inputs=inputs)
        names = ("anomaly-score", "anomaly-map", "reconstruction")
        return {name for name in names if HEADS[name].why_not(item) is None}

    assert fits((1, 1)) == {"anomaly-score"}
    assert fits((1, 1, 64, 64)) == {"anomaly-map"}
    assert fits((1, 3, 64, 64)) == {"reconstruction"}
