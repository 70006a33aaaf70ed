"""Heads against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from edgeinfer import heads
from edgeinfer.errors import SpecError, UsageError
from edgeinfer.geometry import Affine, fit
from edgeinfer.heads import HEADS, NEVER_GUESSED, Graph, View, class_numbers, head_named
from edgeinfer.heads.boxes import nms
from edgeinfer.results import Classes, Detections
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

SAME = View(Affine(np.array([[1.0, 0, 0], [0, 1.0, 0]])), (64, 64))


def spec_of(head: str, size: tuple[int, int] = (64, 64), **thresholds: float) -> ModelSpec:
    return ModelSpec(
        HEADS[head].task,
        head,
        ("a", "b", "c"),
        (InputSpec("images", size_hw=size),),
        thresholds=thresholds,
    )


def detections(head: str, output: np.ndarray, view: View = SAME, **kw: float) -> Detections:
    (found,) = HEADS[head].decode({"out": output}, (view,), spec_of(head, **kw))
    assert isinstance(found, Detections)
    return found


def graph(*shape: int | str, hw: tuple[int, int] | None = (64, 64), last: str = "") -> Graph:
    ops = (("out", last),) if last else ()
    return Graph((TensorSpec("out", "float32", shape),), hw, ops)


def test_yolov8_columns_become_corners_and_the_best_class() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 5] = [32, 16, 20, 8, 0.1, 0.9, 0.2]
    found = detections("yolov8", output)
    assert found.boxes_xyxy.tolist() == [[22, 12, 42, 20]]
    assert found.class_ids.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.to_dict()["detections"][0]["label"] == "b"


def test_boxes_come_back_in_the_pixels_of_the_frame() -> None:
    # 128x64 into 64x64: half the size, 16 pixels of padding above and below.
    lay = fit((128, 64), (64, 64), "letterbox", "center")
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [32, 32, 16, 8, 0.8, 0, 0]
    found = detections("yolov8", output, View(lay.to_frame(), (128, 64)))
    assert found.boxes_xyxy.tolist() == [[48, 24, 80, 40]]


def test_boxes_are_clipped_to_the_frame() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [2, 62, 20, 20, 0.8, 0, 0]
    assert detections("yolov8", output).boxes_xyxy.tolist() == [[0, 52, 12, 64]]


def test_an_overlapping_box_is_dropped_within_its_class_only() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [32, 32, 20, 20, 0.9, 0, 0]
    output[0, :, 1] = [33, 32, 20, 20, 0.8, 0, 0]
    output[0, :, 2] = [33, 32, 20, 20, 0, 0.7, 0]
    found = detections("yolov8", output)
    assert found.class_ids.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_nms_keeps_boxes_that_overlap_less_than_the_threshold() -> None:
    # Two 10x10 boxes shifted by 5 share 50 of 150: IoU 1/3.
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    scores = np.array([0.5, 0.6], np.float32)
    ids = np.zeros(2, np.int64)
    assert nms(boxes, scores, ids, 0.34, 10).tolist() == [1, 0]
    assert nms(boxes, scores, ids, 0.33, 10).tolist() == [1]
    assert nms(boxes, scores, ids, 0.34, 1).tolist() == [1]
    assert nms(boxes[:0], scores[:0], ids[:0], 0.34, 10).tolist() == []


def test_nms_agrees_with_a_slow_one_on_random_boxes() -> None:
    random = np.random.default_rng(3)
    corner = random.uniform(0, 50, (200, 2))
    boxes = np.hstack((corner, corner + random.uniform(2, 30, (200, 2)))).astype(np.float32)
    scores = random.permutation(200).astype(np.float32) / 200
    ids = random.integers(0, 3, 200)

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
        return width * height / (area - width * height)

    slow: list[int] = []
    for index in sorted(range(200), key=lambda i: -scores[i]):
        if all(ids[k] != ids[index] or iou(boxes[k], boxes[index]) <= 0.5 for k in slow):
            slow.append(index)
    assert nms(boxes, scores, ids, 0.5, 300).tolist() == slow


def test_yolov5_scores_are_objectness_times_class() -> None:
    output = np.zeros((1, 252, 8), np.float32)
    output[0, 3] = [32, 16, 20, 8, 0.8, 0.1, 0.2, 0.5]
    output[0, 4] = [10, 10, 4, 4, 0.9, 0.1, 0.2, 0.1]
    found = detections("yolov5", output)
    assert found.boxes_xyxy.tolist() == [[22, 12, 42, 20]]
    assert found.class_ids.tolist() == [2]
    assert found.scores.tolist() == pytest.approx([0.4])


def test_yolox_offsets_are_decoded_on_three_grids() -> None:
    # 64x64: 8x8 cells of stride 8, then 4x4 of 16, then 2x2 of 32.
    output = np.zeros((1, 84, 8), np.float32)
    # Row 2, column 3 of the first grid; second grid row 1, column 2; last cell of the third.
    output[0, 2 * 8 + 3] = [0.5, 0.25, math.log(2), 0, 0.9, 1, 0, 0]
    output[0, 64 + 4 + 2] = [0.5, 0.5, 0, 0, 0.8, 0, 1, 0]
    output[0, 83] = [0.5, 0.5, 0, 0, 0.7, 0, 0, 1]
    found = detections("yolox", output)
    centres = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
    sizes = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
    assert centres.tolist() == [[28, 18], [40, 24], [48, 48]]
    assert sizes.tolist() == pytest.approx(np.array([[16, 8], [16, 16], [32, 32]]))
    assert found.class_ids.tolist() == [0, 1, 2]


def test_yolox_refuses_boxes_that_the_graph_decoded_already() -> None:
    output = np.zeros((1, 84, 8), np.float32)
    output[0, 9] = [30, 30, 40, 40, 0.9, 1, 0, 0]
    with pytest.raises(SpecError, match="--head yolov5"):
        detections("yolox", output)


def test_end2end_rows_are_taken_as_they_are() -> None:
    output = np.zeros((1, 300, 6), np.float32)
    output[0, 0] = [1, 2, 30, 40, 0.5, 2]
    output[0, 1] = [1, 2, 30, 41, 0.6, 2]
    found = detections("end2end", output)
    assert found.scores.tolist() == pytest.approx([0.6, 0.5])
    assert found.class_ids.tolist() == [2, 2]


def test_a_box_that_is_not_finite_is_dropped() -> None:
    output = np.zeros((1, 7, 84), np.float32)
    output[0, :, 0] = [np.inf, 32, 16, 8, 0.8, 0, 0]
    output[0, :, 1] = [32, 32, 16, 8, 0.7, 0, 0]
    found = detections("yolov8", output)
    assert found.scores.tolist() == pytest.approx([0.7])
    assert found.flags == ("nonfinite",)


def test_a_graph_that_gives_no_numbers_is_flagged_and_not_just_blind() -> None:
    for head, shape in (("yolov8", (1, 7, 84)), ("yolov5", (1, 252, 8)), ("end2end", (1, 9, 6))):
        assert detections(head, np.full(shape, np.nan, np.float32)).flags == ("nonfinite",)
        assert detections(head, np.zeros(shape, np.float32)).flags == ()


def test_float16_outputs_decode() -> None:
    output = np.zeros((1, 7, 84), np.float16)
    output[0, :, 5] = [32, 16, 20, 8, 0.1, 0.9, 0.2]
    assert detections("yolov8", output).boxes_xyxy.dtype == np.float32


def test_logits_become_probabilities_best_first() -> None:
    output = np.array([[0.0, math.log(3), math.log(4)]], np.float32)
    (found,) = HEADS["logits"].decode({"out": output}, (SAME,), spec_of("logits"))
    assert isinstance(found, Classes)
    assert found.class_ids.tolist() == [2, 1, 0]
    assert found.scores.tolist() == pytest.approx([0.5, 0.375, 0.125])


def test_huge_logits_do_not_overflow() -> None:
    output = np.array([[1000.0, 0.0, -1000.0]], np.float32)
    (found,) = HEADS["logits"].decode({"out": output}, (SAME,), spec_of("logits"))
    assert isinstance(found, Classes)
    assert found.scores[0] == 1.0


def test_the_largest_logit_is_first_where_powers_are_rounded_to_one() -> None:
    output = np.array([[1e-9, 2e-9, 0.0, -1.0]], np.float32)
    (found,) = HEADS["logits"].decode({"out": output}, (SAME,), spec_of("logits"))
    assert isinstance(found, Classes)
    assert found.class_ids.tolist() == [1, 0, 2, 3]
    assert found.scores[0] == found.scores[1] == found.scores[2]
    assert output.tolist() == np.array([[1e-9, 2e-9, 0.0, -1.0]], np.float32).tolist()


def test_softmax_outputs_of_any_trailing_ones_are_taken_as_they_are() -> None:
    output = np.array([0.1, 0.7, 0.2], np.float16).reshape(1, 3, 1, 1)
    (found,) = HEADS["softmax"].decode({"out": output}, (SAME,), spec_of("softmax"))
    assert isinstance(found, Classes)
    assert found.class_ids.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((1, 7, 84), {"yolov8"}),
        ((1, 252, 8), {"yolov5"}),
        ((1, 84, 8), {"yolox"}),
        ((1, 300, 6), {"end2end"}),
        ((1, 84, 6), {"end2end", "yolox"}),
        ((1, 10), {"softmax", "logits"}),
        ((1, 10, 1, 1), {"softmax", "logits"}),
        ((1, 5, 5, 5), set()),
    ],
)
def test_shapes_tell_heads_apart(shape: tuple[int, ...], fits: set[str]) -> None:
    found = {
        name
        for name, head in HEADS.items()
        if name not in NEVER_GUESSED and head.why_not(graph(*shape)) is None
    }
    assert found == fits


def test_the_last_operator_tells_softmax_from_logits() -> None:
    assert HEADS["softmax"].why_not(graph(1, 10, last="Softmax")) is None
    assert HEADS["logits"].why_not(graph(1, 10, last="Softmax")) is not None
    assert HEADS["softmax"].why_not(graph(1, 10, last="Gemm")) is not None
    assert HEADS["logits"].why_not(graph(1, 10, last="Gemm")) is None


def test_names_near_a_head_are_suggested_and_aliases_taken() -> None:
    with pytest.raises(UsageError, match="'yolov8'"):
        head_named("yolo8")
    assert head_named("yolov10").name == "end2end"


def test_classes_are_named_by_label_or_number() -> None:
    assert class_numbers(("b", "2"), ("a", "b", "c"), 3) == (1, 2)
    with pytest.raises(UsageError, match="'car'"):
        class_numbers(("cat",), ("car", "dog"), 2)
    for name in ("5000", "²", "-1"):
        with pytest.raises(UsageError, match="below 10"):
            class_numbers((name,), (), 10)


def test_the_five_best_of_many_classes_come_best_first_and_ties_in_order() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        scores = random.integers(0, 12, 50).astype(np.float32) / 12
        (found,) = HEADS["softmax"].decode({"out": scores[None]}, (SAME,), spec_of("softmax"))
        assert isinstance(found, Classes)
        expected = sorted(range(50), key=lambda index: (-scores[index], index))[:5]
        assert found.class_ids.tolist() == expected
        assert found.scores.tolist() == scores[expected].tolist()


def test_logits_that_are_no_numbers_still_give_a_result() -> None:
    output = np.full((1, 20), np.nan, np.float32)
    (found,) = HEADS["logits"].decode({"out": output}, (SAME,), spec_of("logits"))
    assert len(found.to_dict()["classes"]) == 5
    assert isinstance(found, Classes)
    assert found.flags == ("nonfinite",)


def test_every_head_is_what_the_table_says() -> None:
    for task, homes in heads._BY_TASK.items():
        for name in homes:
            assert (HEADS[name].name, HEADS[name].task) == (name, task)
    assert list(HEADS) == [name for homes in heads._BY_TASK.values() for name in homes]


@pytest.mark.parametrize("name", sorted(HEADS))
@pytest.mark.parametrize("shapes", [[()], [(), (1, 3)], [(1,)], [(), (), ()]])
def test_outputs_without_dimensions_are_no_objects(
    name: str, shapes: list[tuple[int, ...]]
) -> None:
    outputs = tuple(TensorSpec(f"out{at}", "float32", shape) for at, shape in enumerate(shapes))
    why = HEADS[name].why_not(Graph(outputs, (64, 64)))
    assert why or HEADS[name].task not in ("detect", "segment", "face")


def test_rows_of_no_class_pad_the_output_of_end2end() -> None:
    output = np.array([[[1, 1, 5, 5, 0.9, 0], [1, 1, 5, 5, 0.8, -1], [9, 9, 12, 12, 0.7, 1]]])
    found = detections("end2end", output.astype(np.float32))
    assert found.class_ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("head", "output", "ids", "scores"),
    [
        # The best box of all is of another class, and takes no place of the wanted one.
        ("yolov8", [[[32, 10], [32, 10], [8, 8], [8, 8], [0.9, 0], [0, 0.6], [0, 0]]], [1], [0.6]),
        ("softmax", [[0.7, 0.2, 0.1]], [1, 2], [0.2, 0.1]),
        ("logits", [np.log([0.7, 0.2, 0.1])], [1, 2], [0.2, 0.1]),
        ("class-ids", [0], [], []),
        ("class-ids", [2], [2], [1]),
    ],
)
def test_only_wanted_classes_are_reported(
    head: str, output: list[object], ids: list[int], scores: list[float]
) -> None:
    spec = dataclasses.replace(spec_of(head, max_detections=1), keep_classes=(1, 2))
    dtype = np.int64 if head == "class-ids" else np.float32
    (found,) = HEADS[head].decode({"out": np.array(output, dtype)}, (SAME,), spec)
    assert isinstance(found, Classes | Detections)
    assert found.class_ids.tolist() == ids
    assert found.scores.tolist() == pytest.approx(scores)
