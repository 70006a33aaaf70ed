"""Heads of detectors and of faces against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import SpecError
from edgeinfer.geometry import Affine
from edgeinfer.heads import HEADS, Graph, View
from edgeinfer.heads.anchors import anchors_of
from edgeinfer.heads.retinanet import RetinaNet
from edgeinfer.results import Detections, Poses
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

SAME = View(Affine(np.array([[1.0, 0, 0], [0, 1.0, 0]])), (64, 64))


def spec_of(head: str, labels: int, hw: tuple[int, int], options: dict[str, Any]) -> ModelSpec:
    return ModelSpec(
        HEADS[head].task,
        head,
        tuple("abc"[:labels]),
        (InputSpec("images", size_hw=hw),),
        head_options=options,
    )


def decoded(
    head: str,
    outputs: dict[str, np.ndarray],
    labels: int = 2,
    hw: tuple[int, int] = (64, 64),
    **options: Any,
) -> Any:
    (found,) = HEADS[head].decode(outputs, (SAME,), spec_of(head, labels, hw, options))
    assert isinstance(found, Detections | Poses)
    return found


def graph(*shapes: tuple[int, ...], hw: tuple[int, int] = (64, 64), **options: Any) -> Graph:
    outputs = tuple(TensorSpec(f"out{i}", "float32", shape) for i, shape in enumerate(shapes))
    return Graph(outputs, hw, options=options)


def logit(share: float) -> float:
    return math.log(share / (1 - share))


FMAPS = {"maps": [[2, 2], [1, 1]], "sizes": [[0.2, 0.3], [0.5, 0.6]], "ratios": [[1, 4], [1, 4]]}


def test_anchors_are_laid_out_cell_by_cell_with_every_size_and_ratio() -> None:
    anchors = anchors_of(FMAPS, "ssd")
    # Two sizes at ratio 1, then the first size at ratio 4: three a cell, 4 + 1 cells.
    assert anchors.shape == (15, 4)
    assert anchors[:3].tolist() == pytest.approx(
        np.array([[0.25, 0.25, 0.2, 0.2], [0.25, 0.25, 0.3, 0.3], [0.25, 0.25, 0.4, 0.1]])
    )
    assert anchors[3, :2].tolist() == [0.75, 0.25]
    assert anchors[12].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5])


def test_the_layout_of_the_face_mask_network_has_its_5972_anchors() -> None:
    options = {
        "maps": [[33, 33], [17, 17], [9, 9], [5, 5], [3, 3]],
        "sizes": [[0.04, 0.056], [0.08, 0.11], [0.16, 0.22], [0.32, 0.45], [0.64, 0.72]],
        "ratios": [[1, 0.62, 0.42]] * 5,
    }
    assert anchors_of(options, "ssd").shape == (5972, 4)


def test_ssd_moves_and_grows_its_anchors() -> None:
    boxes, scores = np.zeros((1, 15, 4), np.float32), np.zeros((1, 15, 2), np.float32)
    # Anchor 12: middle, half of the picture. Moved right by 0.1 * 0.5 * 64 = 3.2 pixels, twice
    # as high.
    boxes[0, 12] = [1, 0, 0, math.log(2) / 0.2]
    scores[0, 12] = [0.1, 0.9]
    found = decoded("ssd", {"loc": boxes, "cls": scores}, **FMAPS)
    assert found.boxes_xyxy.tolist() == [pytest.approx([19.2, 0, 51.2, 64])]
    assert found.class_ids.tolist() == [1]


def test_ssd_with_a_background_counts_classes_from_the_next() -> None:
    boxes, scores = np.zeros((1, 15, 4), np.float32), np.zeros((1, 15, 3), np.float32)
    scores[0, :, 0] = 5
    scores[0, 12] = [0, 0, 5]
    outputs = {"loc": boxes, "cls": scores}
    found = decoded("ssd", outputs, background=True, activation="softmax", **FMAPS)
    assert found.class_ids.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([math.exp(5) / (math.exp(5) + 2)])
    shapes = (1, 15, 4), (1, 15, 3)
    assert HEADS["ssd"].classes(graph(*shapes, background=True, **FMAPS)) == 2


def test_ssd_says_what_is_wrong_with_its_anchors() -> None:
    outputs = {"loc": np.zeros((1, 9, 4), np.float32), "cls": np.zeros((1, 9, 2), np.float32)}
    with pytest.raises(SpecError, match="9 predictions and 15 anchors"):
        decoded("ssd", outputs, **FMAPS)
    with pytest.raises(SpecError, match="one list of sizes and ratios"):
        anchors_of({"maps": [[2, 2]], "sizes": [], "ratios": []}, "ssd")
    assert "needs its anchors" in str(HEADS["ssd"].why_not(graph((1, 9, 4), (1, 9, 2))))


@pytest.mark.parametrize(
    ("hw", "count", "cell", "first"),
    [
        # 32x40, 16x20, 8x10, 4x5 and 2x3 cells of nine; the cells of stride 128 are 106 wide.
        ((256, 320), 15354, 9 * (1280 + 320 + 80 + 20 + 4), [106, 128]),
        ((64, 64), 9 * 86, 9 * 85, [0, 0]),
    ],
)
def test_retinanets_anchors_are_those_of_torchvision(
    hw: tuple[int, int], count: int, cell: int, first: list[int]
) -> None:
    whole = np.array([hw[1], hw[0]] * 2)
    anchors = RetinaNet().anchors(spec_of("retinanet", 2, hw, {})) * whole
    assert len(anchors) == count
    # AnchorGenerator: twice as wide as high first, three sizes each, rounded to whole corners.
    assert anchors[:9].tolist() == [
        pytest.approx([0, 0, *wh], abs=1e-3)
        for wh in ([46, 22], [56, 28], [70, 36], [32, 32], [40, 40], [50, 50])
        + ([22, 46], [28, 56], [36, 70])
    ]
    assert anchors[cell].tolist() == pytest.approx([*first, 724, 362], abs=1e-2)


def test_retinanet_moves_its_anchors_and_bounds_their_growth() -> None:
    boxes, logits = np.zeros((1, 774, 4), np.float32), np.full((1, 774, 3), -9, np.float32)
    # The fourth anchor of the second cell: 32x32 around (8, 0); moved by a quarter, twice as high.
    boxes[0, 12] = [0.25, 0.75, 0, math.log(2)]
    boxes[0, 300] = [0, 0, 99, 99]
    logits[0, 12, 2], logits[0, 300, 1] = logit(0.75), logit(0.5)
    found = decoded("retinanet", {"logits": logits, "boxes": boxes}, labels=3)
    assert found.boxes_xyxy.tolist() == [pytest.approx([0, 0, 32, 56]), [0, 0, 64, 64]]
    assert found.class_ids.tolist() == [2, 1]
    assert found.scores.tolist() == pytest.approx([0.75, 0.5])


def test_retinanet_is_known_by_its_number_of_anchors() -> None:
    head, shapes = HEADS["retinanet"], ((1, 774, 3), (1, 774, 4))
    assert head.why_not(graph(*shapes)) is None and head.classes(graph(*shapes)) == 3
    assert "774 predictions" in str(head.why_not(graph((1, 300, 3), (1, 300, 4))))
    assert "5 strides" in str(head.why_not(graph(*shapes, sizes=[[1, 2]])))
    assert "3 of ratios" in str(head.why_not(graph(*shapes, ratios=[[1]] * 3)))
    assert "[1, N, classes]" in str(head.why_not(graph((1, 774, 3))))
    assert head.why_not(graph(*shapes, anchors=[[0, 0, 1, 1]])) is None
    given = {"strides": [32], "sizes": [[32]], "ratios": [[1]]}
    assert head.why_not(graph((1, 4, 4), (1, 4, 2), **given)) is None


def test_fastestdet_reads_its_cells() -> None:
    output = np.zeros((1, 7, 4, 4), np.float32)
    # Cell in row 1, column 2: half a cell to the right, half of the input wide, a quarter high.
    output[0, :, 1, 2] = [0.8, math.atanh(0.5), 0, 0, logit(0.25), 0.3, 0.9]
    found = decoded("fastestdet", {"out": output})
    assert found.boxes_xyxy.tolist() == [
        pytest.approx([40 - 16, 16 - 8, 40 + 16, 16 + 8], abs=1e-4)
    ]
    assert found.scores.tolist() == pytest.approx([0.8**0.6 * 0.9**0.4])
    assert found.class_ids.tolist() == [1]


def test_yolov3_decodes_raw_maps_with_its_anchors() -> None:
    # Two anchors of (5 + 2) channels on 2x2 cells of 32 pixels, one on 4x4 of 16.
    low, high = np.full((1, 14, 2, 2), -9, np.float32), np.full((1, 7, 4, 4), -9, np.float32)
    low[0, 7:, 1, 0] = [logit(0.25), logit(0.5), math.log(2), 0, logit(0.9), -9, logit(0.8)]
    high[0, :, 2, 3] = [0, 0, 0, math.log(0.5), logit(0.95), logit(0.6), -9]
    anchors = [[[10, 10], [20, 12]], [[8, 16]]]
    found = decoded("yolov3", {"a": low, "b": high}, anchors=anchors)
    assert found.scores.tolist() == pytest.approx([0.9 * 0.8, 0.95 * 0.6], abs=1e-5)
    assert found.class_ids.tolist() == [1, 0]
    # Centre (0.25 + 0) * 32, (0.5 + 1) * 32; 40 by 12. Then (3.5, 2.5) * 16; 8 by 8.
    assert found.boxes_xyxy.tolist() == [
        pytest.approx([0, 42, 28, 54], abs=1e-4),
        pytest.approx([52, 36, 60, 44], abs=1e-4),
    ]


def test_yolov3_centres_may_leave_their_cells() -> None:
    raw = np.full((1, 7, 2, 2), -9, np.float32)
    raw[0, :, 0, 0] = [logit(0.9), logit(0.5), 0, 0, 9, 9, -9]
    found = decoded("yolov3", {"out": raw}, anchors=[[[8, 8]]], scale_xy=[2])
    # 0.9 * 2 - 0.5 cells of 32 pixels; 0.5 stays in the middle.
    assert found.boxes_xyxy.tolist() == [pytest.approx([37.6, 12, 45.6, 20], abs=1e-4)]


def test_yolov3_needs_anchors_that_fit() -> None:
    head = HEADS["yolov3"]
    assert "anchors" in str(head.why_not(graph((1, 14, 2, 2))))
    assert "1 outputs" in str(head.why_not(graph((1, 14, 2, 2), (1, 7, 4, 4), anchors=[[[1, 1]]])))
    assert "13 channels" in str(head.why_not(graph((1, 13, 2, 2), anchors=[[[1, 1], [2, 2]]])))
    assert head.why_not(graph((1, 14, 2, 2), anchors=[[[1, 1], [2, 2]]])) is None
    assert head.classes(graph((1, 14, 2, 2), anchors=[[[1, 1], [2, 2]]])) == 2


def test_nanodet_reads_the_mean_of_each_distribution() -> None:
    # 64x64 at strides 32 and 64: 4 + 1 cells; two classes, three bins a side.
    output = np.full((1, 5, 2 + 12), -50, np.float32)
    row = output[0, 3]  # row 1, column 1 of stride 32
    row[:2] = [0.2, 0.9]
    bins = row[2:].reshape(4, 3)
    bins[0, 1] = bins[1, 0] = bins[3, 2] = 0  # exactly 1, 0 and 2 strides
    bins[2, 0] = bins[2, 1] = 0  # 0 or 1 alike: half a stride
    output[0, [0, 1, 2, 4], :2] = 0
    found = decoded("nanodet", {"out": output}, strides=[32, 64], classes=2)
    assert found.boxes_xyxy.tolist() == [pytest.approx([0, 32, 48, 64], abs=1e-4)]
    assert found.class_ids.tolist() == [1]


def test_nanodet_refuses_rows_that_leave_no_distances() -> None:
    with pytest.raises(SpecError, match="14 values"):
        decoded("nanodet", {"out": np.zeros((1, 5, 14), np.float32)}, strides=[32, 64], classes=3)


def test_rtdetr_in_both_layouts() -> None:
    one = np.zeros((1, 300, 6), np.float32)
    one[0, 7] = [0.5, 0.25, 0.25, 0.125, 0.1, 0.8]
    one[0, 8] = [0.5, 0.25, 0.25, 0.125, 0.7, 0.1]
    boxes, logits = one[:, :, :4].copy(), np.full((1, 300, 2), -9, np.float32)
    logits[0, 7, 1], logits[0, 8, 0] = logit(0.8), logit(0.7)
    for outputs in ({"out": one}, {"logits": logits, "pred_boxes": boxes}):
        found = decoded("rtdetr", outputs)
        # Queries do not suppress each other: two of the same place stay.
        assert found.boxes_xyxy.tolist() == [[24, 12, 40, 20]] * 2
        assert found.scores.tolist() == pytest.approx([0.8, 0.7], abs=1e-6)
        assert found.class_ids.tolist() == [1, 0]


def test_rtdetr_of_four_classes_goes_by_the_names_of_its_outputs() -> None:
    boxes, logits = np.full((1, 300, 4), 0.1, np.float32), np.full((1, 300, 4), -9, np.float32)
    boxes[0, 7], logits[0, 7, 3] = [0.5, 0.25, 0.25, 0.125], logit(0.8)
    for outputs in ({"logits": logits, "pred_boxes": boxes}, {"out0": boxes, "out1": logits}):
        found = decoded("rtdetr", outputs, labels=0)
        assert found.boxes_xyxy.tolist() == [[24, 12, 40, 20]]
        assert (found.class_ids.tolist(), found.scores.tolist()) == ([3], [pytest.approx(0.8)])


def test_rtdetr_may_give_the_best_class_itself() -> None:
    output = np.zeros((1, 300, 6), np.float32)
    output[0, 7] = [0.5, 0.25, 0.25, 0.125, 0.8, 1]
    found = decoded("rtdetr", {"out": output}, end2end=True)
    assert found.boxes_xyxy.tolist() == [[24, 12, 40, 20]]
    assert (found.class_ids.tolist(), found.scores.tolist()) == ([1], [pytest.approx(0.8)])


def test_ultraface_scales_its_shares_to_the_input() -> None:
    scores, boxes = np.zeros((1, 9, 2), np.float32), np.zeros((1, 9, 4), np.float32)
    scores[0, 4], boxes[0, 4] = [0.1, 0.9], [0.25, 0.5, 0.5, 1]
    found = decoded("ultraface", {"scores": scores, "boxes": boxes}, labels=1, hw=(32, 64))
    assert found.boxes_xyxy.tolist() == [[16, 16, 32, 32]]
    assert found.to_dict()["instances"][0]["keypoints_xys"] == []
    head = HEADS["ultraface"]
    assert head.why_not(graph((1, 4420, 2), (1, 4420, 4), hw=(240, 320))) is None
    assert "4420" in str(head.why_not(graph((1, 9, 2), (1, 9, 4), hw=(240, 320))))


def test_ultraface_brings_regressions_from_its_anchors_to_corners() -> None:
    scores, boxes = np.zeros((1, 235, 2), np.float32), np.zeros((1, 235, 4), np.float32)
    # The first box of the second cell: its middle is at (12, 4), its sides are 10 pixels.
    scores[0, 3], boxes[0, 3] = [0.1, 0.9], [1, 0, 5 * math.log(2), 0]
    found = decoded("ultraface", {"scores": scores, "boxes": boxes}, labels=1, encoded=True)
    assert found.boxes_xyxy[0].tolist() == pytest.approx([3, 0, 23, 9], abs=1e-4)
    few = {"scores": scores[:, :9], "boxes": boxes[:, :9]}
    with pytest.raises(SpecError, match="9 predictions and 235 anchors"):
        decoded("ultraface", few, labels=1, encoded=True)


def yunet_outputs() -> dict[str, np.ndarray]:
    columns = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return {
        f"{kind}_{stride}": np.zeros((1, (64 // stride) ** 2, size), np.float32)
        for kind, size in columns.items()
        for stride in (8, 16, 32)
    }


def test_yunet_faces_have_five_landmarks() -> None:
    outputs = yunet_outputs()
    # Stride 16, row 1, column 2 of 4.
    outputs["cls_16"][0, 6], outputs["obj_16"][0, 6] = 0.81, 1.0
    outputs["bbox_16"][0, 6] = [0.5, 0.25, math.log(2), 0]
    outputs["kps_16"][0, 6] = [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]
    found = decoded("yunet", outputs, labels=1)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.boxes_xyxy.tolist() == [pytest.approx([24, 12, 56, 28])]
    assert found.keypoints_xys[0].tolist() == [
        [32, 16, 1],
        [48, 16, 1],
        [40, 24, 1],
        [32, 32, 1],
        [48, 32, 1],
    ]


def test_yunet_names_the_output_that_is_missing() -> None:
    outputs = tuple(TensorSpec(k, "float32", v.shape) for k, v in yunet_outputs().items())
    assert HEADS["yunet"].why_not(Graph(outputs, (64, 64))) is None
    assert "cls_8" in str(HEADS["yunet"].why_not(Graph(outputs[1:], (64, 64))))


def test_scrfd_reads_distances_from_each_cell_twice() -> None:
    sizes = {8: 64, 16: 16, 32: 4}
    outputs = {}
    for columns in (1, 4, 10):
        for stride, cells in sizes.items():
            outputs[f"o{columns}_{stride}"] = np.zeros((cells * 2, columns), np.float32)
    # Stride 32, row 1, column 0, second anchor.
    outputs["o1_32"][5] = 0.9
    outputs["o4_32"][5] = [0, 0.5, 1, 0.25]
    outputs["o10_32"][5] = [0.5, 0.5] * 5
    found = decoded("scrfd", outputs, labels=1)
    assert found.boxes_xyxy.tolist() == [[0, 16, 32, 40]]
    assert found.keypoints_xys[0, 0].tolist() == [16, 48, 1]


def test_retinaface_decodes_boxes_and_landmarks_from_its_priors() -> None:
    counts = 2 * (64 + 16 + 4)
    boxes, marks = np.zeros((1, counts, 4), np.float32), np.zeros((1, counts, 10), np.float32)
    scores = np.zeros((1, counts, 2), np.float32)
    scores[0, :, 0] = 1
    # First cell of stride 16: priors of 64 and 128 pixels around (8, 8); the first of them.
    place = 128
    scores[0, place] = [0.2, 0.8]
    boxes[0, place] = [5, 5, 0, math.log(0.5) / 0.2]
    marks[0, place] = [2.5, 0] * 5
    found = decoded("retinaface", {"l": boxes, "c": scores, "m": marks}, labels=1)
    # Centre moves by 0.1 * 5 * 64 = 32; 64 wide, 32 high.
    assert found.boxes_xyxy.tolist() == [pytest.approx([8, 24, 64, 56])]
    assert found.keypoints_xys[0, 0].tolist() == pytest.approx([8 + 0.1 * 2.5 * 64, 8, 1])


def test_retinaface_wants_sizes_for_each_stride() -> None:
    shapes = (1, 160, 4), (1, 160, 2), (1, 160, 10)
    found = HEADS["retinaface"].why_not(graph(*shapes, strides=[8, 16]))
    assert found == "its options have 3 lists of sizes for 2 strides"
    sizes = [[16, 32], [64, 128]]
    assert HEADS["retinaface"].why_not(graph(*shapes, strides=[8, 16], sizes=sizes)) is None


@pytest.mark.parametrize("head", ["fastestdet", "rtdetr"])
def test_numbers_that_are_none_are_flagged(head: str) -> None:
    shape = (1, 7, 4, 4) if head == "fastestdet" else (1, 300, 6)
    assert decoded(head, {"out": np.full(shape, np.nan, np.float32)}).flags == ("nonfinite",)
    assert decoded(head, {"out": np.zeros(shape, np.float32)}).flags == ()
