"""evaluate() for every task: answers meet their truth, and the headline stands for the task."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.datasets import (
    AnomalyTruth,
    BoxTruth,
    ClassTruth,
    MapTruth,
    MaskTruth,
    OrientedTruth,
    PoseTruth,
    Sample,
    TextTruth,
    Truth,
    UserMetric,
    ValueTruth,
    open_dataset,
)
from edgeinfer.datasets.user import UserData
from edgeinfer.errors import SpecError, UsageError
from edgeinfer.evaluate import evaluate, showing_weak
from edgeinfer.frames import Array, Arrays, frame_from_array
from edgeinfer.results import (
    Anomaly,
    ClassMap,
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
from edgeinfer.spec import ModelSpec

SERVED = Served("cpu", "stub 1", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))
BOX = np.array([[2, 2, 6, 6]], np.float32)
ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.int64)


@dataclass(frozen=True)
class Data:
    """Pictures whose first pixel is their number."""

    task: str
    truths: tuple[Truth, ...]
    labels: tuple[str, ...] = ()
    name: str = "made (val)"

    def __len__(self) -> int:
        return len(self.truths)

    def __iter__(self) -> Iterator[Sample]:
        for number, truth in enumerate(self.truths):
            yield Sample(f"{number}", np.full((8, 8, 3), number, np.uint8), truth)


@dataclass(frozen=True)
class Answers:
    """A model that answers by the picture's number."""

    spec: ModelSpec
    values: tuple[Payload, ...]

    def __call__(self, frame: Array | Arrays, /) -> Result[Payload]:
        assert isinstance(frame, np.ndarray)
        value = self.values[int(frame[0, 0, 0])]
        identity = frame_from_array(frame).id
        return Result(value, identity, self.spec.task, SERVED, {}, 0, 0)


def judged(task: str, truths: tuple[Truth, ...], values: tuple[Payload, ...], **kw: Any) -> Any:
    spec = ModelSpec(task, "any", kw.pop("labels", ()), thresholds={"score": 0.001})
    return evaluate(Answers(spec, values), Data(kw.pop("data_task", task), truths, **kw))


def block(x: int, y: int, width: int, height: int) -> Mask:
    return Mask((x, y), np.ones((height, width), bool), (8, 8))


def test_masks_are_judged_apart_from_their_boxes() -> None:
    # The same box, half of its pixels.
    half = Mask((2, 2), np.tri(4, 4, 0, bool), (8, 8))
    value = Segments(BOX, ONE, ZERO, masks=(half,))
    found = judged("segment", (MaskTruth((block(2, 2, 4, 4),), ZERO),), (value,))
    # 10 of 16 pixels: a hit at 0.5, 0.55 and 0.6.
    assert found.metrics["map50"] == 1
    assert found.metrics["map50_95"] == pytest.approx(0.3)
    assert found.metrics["box_map50_95"] == 1
    assert found.headline == "map50_95"


def test_keypoints_are_judged_by_their_similarity() -> None:
    points = np.array([[[3, 3, 1], [5, 5, 1]]], np.float32)
    truth = PoseTruth(BOX.astype(float), ZERO, points.astype(float))
    exact = Poses(BOX, ONE, ZERO, keypoints_xys=points)
    far = dataclasses.replace(exact, keypoints_xys=points + np.array([50, 50, 0], np.float32))
    found = judged("pose", (truth,), (exact,))
    assert (found.metrics["oks_map"], found.headline) == (1, "oks_map")
    found = judged("pose", (truth,), (far,))
    assert (found.metrics["oks_map"], found.metrics["map50_95"]) == (0, 1)


def test_another_number_of_keypoints_is_refused() -> None:
    truth = PoseTruth(BOX.astype(float), ZERO, np.ones((1, 3, 3)))
    value = Poses(BOX, ONE, ZERO, keypoints_xys=np.ones((1, 2, 3), np.float32))
    with pytest.raises(SpecError, match="2 keypoints.*have 3"):
        judged("pose", (truth,), (value,))


def test_turned_boxes_are_judged_by_their_common_area() -> None:
    corners = np.array([[[1, 1], [5, 1], [5, 3], [1, 3]]], np.float32)
    value = Oriented(BOX, ONE, ZERO, polygons_xy=corners + np.array([1, 0], np.float32))
    found = judged("obb", (OrientedTruth(corners.astype(float), ZERO),), (value,))
    # 3 x 2 of 8 + 8 - 6: a hit at 0.5, 0.55 and 0.6.
    assert found.metrics["map50_95"] == pytest.approx(0.3)


def test_pixels_are_judged_with_classes_matched_by_name() -> None:
    answer = np.zeros((8, 8), np.uint8)
    answer[:, 4:] = 1
    truth = np.where(answer == 1, 0, 1)
    truth[0] = 255
    found = judged(
        "semantic",
        (MapTruth(truth),),
        (ClassMap(answer),),
        labels=("wall", "door"),
    )
    assert found.metrics["miou"] == 0
    data = Data("semantic", (MapTruth(truth),), ("door", "wall"))
    spec = ModelSpec("semantic", "semantic", ("wall", "door"))
    found = evaluate(Answers(spec, (ClassMap(answer),)), data)
    assert found.metrics == {"miou": 1, "pixel_accuracy": 1}
    assert (dict(found.per_class), found.headline) == ({"wall": 1, "door": 1}, "miou")


def test_text_is_judged_letter_by_letter() -> None:
    truths = (TextTruth("abcd"), TextTruth("x"))
    values = (TextLines(ONE, ("abed",)), TextLines(np.zeros(0, np.float32)))
    found = judged("text-recognize", truths, values)
    assert found.metrics == {"char_accuracy": 3 / 5, "cer": 2 / 5, "exact": 0}
    assert found.headline == "char_accuracy"


def test_anomalies_are_judged_by_their_order() -> None:
    truths = (AnomalyTruth(True), AnomalyTruth(False), AnomalyTruth(True))
    found = judged("anomaly", truths, (Anomaly(3.0), Anomaly(2.0), Anomaly(1.0)))
    assert found.metrics["auroc"] == 0.5
    assert found.headline == "auroc"


def test_estimates_are_judged_by_their_distance() -> None:
    truths = (ValueTruth(np.array([1.0])), ValueTruth(np.array([3.0])))
    values = tuple(Tensors({"out": np.array([[v]], np.float32)}) for v in (2.0, 3.0))
    found = judged("tensor", truths, values)
    assert found.metrics == {"r2": 0.5, "mae": 0.5, "rmse": pytest.approx(math.sqrt(0.5))}
    with pytest.raises(SpecError, match="estimates 1 values.*has 2"):
        judged("tensor", (ValueTruth(np.zeros(2)),), values[:1])


def test_faces_are_judged_by_boxes() -> None:
    value = Poses(BOX, ONE, ZERO)
    truth = BoxTruth(BOX.astype(float), ZERO)
    found = judged("face", (truth,), (value,), data_task="detect")
    assert (found.task, found.metrics["map50"], found.headline) == ("face", 1, "map50_95")


def test_data_of_another_task_are_refused() -> None:
    with pytest.raises(UsageError, match="'pose'.*'detect'"):
        judged("pose", (BoxTruth(BOX.astype(float), ZERO),), (), data_task="detect")


def test_a_users_metric_is_what_it_says() -> None:
    def measure(model: Any, progress: Any) -> dict[str, float]:
        progress(5, 9)
        return {"mine": float(len(model.values)), "other": 2}

    seen: list[tuple[int, int]] = []
    model = Answers(ModelSpec("tensor", "tensor"), ())
    found = evaluate(model, UserMetric("m:f", measure), progress=lambda *a: seen.append(a))
    assert found.to_dict()["metrics"] == {"mine": 0, "other": 2}
    assert (found.headline, found.n, seen) == ("mine", 5, [(5, 9)])


@pytest.mark.parametrize("given", [{}, {"a": "b"}, 7, {"a": True}])
def test_a_users_metric_that_gives_no_numbers_is_refused(given: Any) -> None:
    model = Answers(ModelSpec("tensor", "tensor"), ())
    with pytest.raises(SpecError, match="m:f gave"):
        evaluate(model, UserMetric("m:f", lambda model, progress: given))


def test_a_users_metric_that_fails_is_named() -> None:
    def measure(model: Any, progress: Any) -> dict[str, float]:
        raise ValueError("out of luck")

    with pytest.raises(SpecError, match="m:f failed: ValueError: out of luck"):
        evaluate(Answers(ModelSpec("tensor", "tensor"), ()), UserMetric("m:f", measure))


def test_rows_of_a_table_are_shaped_as_the_model_takes_them(
    make_model: Any, tmp_path: Path
) -> None:
    path = make_model(
        """
        net (float[N, 2, 2] x, float bias) => (int64[N] best)
        <int64[2] shape = {-1, 4}>
        {
          flat = Reshape(x, shape)
          moved = Add(flat, bias)
          best = ArgMax <axis = 1, keepdims = 0> (moved)
        }
        """
    )
    table = tmp_path / "rows.csv"
    table.write_text("2,0,0,5,0\n0,9,0,0,0\n1,0,0,0,7\n")
    spec = tmp_path / "spec.json"
    spec.write_text('{"inputs": [{"name": "bias", "kind": "tensor", "value": 1}]}')
    with edgeinfer.load(path, task="classify", spec=spec) as model:
        assert model.spec.head == "class-ids"
        found = evaluate(model, open_dataset(str(table), "classify"))
    assert found.metrics == {"top1": 2 / 3, "top5": 2 / 3}


TABLE = [{"name": "x", "kind": "tensor"}]
NEAREST = """
net (float[N, 3] x) => (float[N, 3] scores) { scores = Softmax (x) }
"""


def test_names_in_a_table_are_the_models_labels(make_model: Any, tmp_path: Path) -> None:
    spec = {
        "task": "classify",
        "head": "softmax",
        "inputs": TABLE,
        "labels": ["virginica", "Setosa", "other"],
    }
    rows = np.eye(3, dtype=np.float32)
    path = tmp_path / "names.npz"
    with edgeinfer.load(make_model(NEAREST, spec=spec)) as model:
        np.savez(path, x=rows, y=np.array(["virginica", "setosa", "setosa"]))
        assert evaluate(model, open_dataset(str(path), "classify")).metrics["top1"] == 2 / 3
        np.savez(path, x=rows, y=np.array(["virginca", "setosa", "setosa"]))
        with pytest.raises(SpecError, match="'virginca'.*Did you mean 'virginica'"):
            evaluate(model, open_dataset(str(path), "classify"))


def test_names_need_a_model_with_labels(make_model: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "names.npz", x=np.eye(3), y=np.array(["a", "b", "c"]))
    with (
        edgeinfer.load(
            make_model(NEAREST, spec={"task": "classify", "head": "softmax", "inputs": TABLE})
        ) as model,
        pytest.raises(SpecError, match="carries no labels.*--labels"),
    ):
        evaluate(model, open_dataset(str(tmp_path / "names.npz"), "classify"))


@pytest.mark.parametrize("labels", [[], ["a", "b", "c"]])
def test_a_class_that_the_model_has_not_is_refused(
    labels: list[str], make_model: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "rows.npz", x=np.eye(3), y=np.array([0, 9, 7]))
    spec = {"task": "classify", "head": "softmax", "inputs": TABLE, "labels": labels}
    given = UserData("m:f", "classify", (), lambda: [(row, 9) for row in np.eye(3)], 3)
    with edgeinfer.load(make_model(NEAREST, spec=spec)) as model:
        for data in (open_dataset(str(tmp_path / "rows.npz"), "classify"), given):
            with pytest.raises(SpecError, match="the class 9, while the model tells 3"):
                evaluate(model, data)


def test_a_model_shows_its_weak_detections_where_it_is_judged(make_model: Any) -> None:
    path = make_model(
        """
        net (float[1, 3, 64, 64] images) => (float[1, 6, 84] out)
        <float[1, 6, 1] column = {32, 32, 20, 20, 0.1, 0.05}, int64[3] shape = {1, 6, 84}>
        { least = ReduceMin <keepdims = 0> (images)
          none = Sub(least, least)
          wide = Expand(column, shape)
          out = Add(wide, none) }
        """,
        spec={
            "task": "detect",
            "head": "yolov8",
            "labels": ["a", "b"],
            "inputs": [{"name": "images", "kind": "image", "size_hw": [64, 64]}],
        },
    )
    truth = BoxTruth(np.array([[22.0, 22, 42, 42]]), ZERO)

    @dataclass(frozen=True)
    class One:
        task = "detect"
        labels = ("a", "b")
        name = "one"

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[Sample]:
            yield Sample("x", np.zeros((64, 64, 3), np.uint8), truth)

    with edgeinfer.load(path) as model:
        assert evaluate(model, One()).metrics["map50"] == 0
        found = evaluate(showing_weak(model), One())
        assert (found.metrics["map50"], found.notes) == (1, ())
        assert evaluate(showing_weak(model, 0.3), One()).metrics["map50"] == 0
        seen: list[Any] = []
        metric = UserMetric("m:f", lambda given, progress: seen.append(given) or {"a": 1.0})
        evaluate(showing_weak(model), metric)
        assert seen == [model]


def test_a_classifier_is_judged_as_it_is(brightness_model: Path) -> None:
    data = Data("classify", (ClassTruth(1),), ("bright", "dark"))
    with edgeinfer.load(brightness_model) as model:
        assert showing_weak(model) is model
        assert evaluate(model, data).metrics["top1"] == 1
