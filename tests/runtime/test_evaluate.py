"""evaluate(): the right pairs meet, and what does not fit is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from edgeinfer.datasets import BoxTruth, ClassTruth, Sample
from edgeinfer.errors import SpecError, UsageError
from edgeinfer.evaluate import evaluate, match_labels
from edgeinfer.frames import Array, Frame, frame_from_array
from edgeinfer.plan import Plan
from edgeinfer.results import Classes, Detections, Payload, Placement, Result, Served
from edgeinfer.spec import ModelSpec

SERVED = Served("cpu", "stub 1", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))


@dataclass(frozen=True)
class Data:
    """Pictures whose first pixel is their number."""

    task: str
    labels: tuple[str, ...]
    truths: tuple[BoxTruth | ClassTruth, ...]
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

    def __call__(self, frame: Array, /) -> Result[Payload]:
        value = self.values[int(frame[0, 0, 0])]
        identity = frame_from_array(frame).id
        return Result(value, identity, self.spec.task, SERVED, {}, 0, 0)


@dataclass(frozen=True)
class LanesOf:
    """The same with several lanes, of which the first to start is the last to answer."""

    model: Answers
    plan: Plan
    spec: ModelSpec

    def lane(self) -> LanesOf:
        return self

    def predict(self, frame: Frame) -> Result[Payload]:
        picture = frame.data
        assert isinstance(picture, np.ndarray)
        if picture[0, 0, 0] % 2 == 0:
            assert LATER.wait(5)
        else:
            LATER.set()
        return self.model(picture)

    def __call__(self, frame: Array, /) -> Result[Payload]:
        raise AssertionError("it has lanes")


LATER = threading.Event()


def truth(*rows: tuple[int, float, float, float, float]) -> BoxTruth:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return BoxTruth(table[:, 1:], table[:, 0].astype(np.int64))


def found(*rows: tuple[int, float, float, float, float, float]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def classes(*ids: int) -> Classes:
    return Classes(np.array(ids), np.linspace(1, 0.5, len(ids), dtype=np.float32))


DETECT = ModelSpec("detect", "yolov8", ("ant", "bee"), thresholds={"score": 0.001})
CLASSIFY = ModelSpec("classify", "softmax", ("ant", "bee", "fire hydrant"))


def test_detections_are_compared_picture_by_picture() -> None:
    data = Data("detect", ("ant", "bee"), (truth((0, 0, 0, 4, 4)), truth((1, 1, 1, 5, 5))))
    model = Answers(DETECT, (found((0, 0.9, 0, 0, 4, 4)), found((0, 0.8, 1, 1, 5, 5))))
    seen: list[tuple[int, int]] = []
    result = evaluate(model, data, progress=lambda done, total: seen.append((done, total)))
    assert result.metrics == {"map50": 0.5, "map50_95": 0.5, "precision": 0.5, "recall": 0.5}
    assert (dict(result.per_class), result.n, seen) == ({"ant": 1, "bee": 0}, 2, [(1, 2), (2, 2)])
    assert result.headline == "map50_95"


def test_lanes_answer_several_pictures_at_once_and_none_is_mistaken_for_another() -> None:
    spec = ModelSpec("classify", "softmax", labels=("a", "b", "c"))
    model = Answers(spec, (classes(0, 1), classes(2, 0), classes(1, 0), classes(0, 2)))
    data = Data("classify", ("a", "b", "c"), tuple(ClassTruth(n) for n in (0, 2, 1, 2)))
    alone = evaluate(model, data)
    LATER.clear()
    together = evaluate(LanesOf(model, Plan("default", 2, lanes=2), spec), data)
    assert together == alone and alone.metrics["top1"] == 0.75


def test_pictures_in_a_buffer_that_is_used_again_are_answered_as_they_were() -> None:
    class OneBuffer(Data):
        def __iter__(self) -> Iterator[Sample]:
            buffer = np.zeros((8, 8, 3), np.uint8)
            for number, truth in enumerate(self.truths):
                buffer[:] = number
                yield Sample(f"{number}", buffer, truth)

    spec = ModelSpec("classify", "softmax", labels=("a", "b"))
    model = Answers(spec, (classes(0, 1), classes(1, 0), classes(0, 1), classes(1, 0)))
    data = OneBuffer("classify", ("a", "b"), tuple(ClassTruth(n) for n in (0, 1, 0, 1)))
    LATER.clear()
    found = evaluate(LanesOf(model, Plan("default", 2, lanes=2), spec), data)
    assert found.metrics["top1"] == 1.0


def test_what_a_lane_raises_ends_the_evaluation() -> None:
    spec = ModelSpec("classify", "softmax", labels=("a", "b"))
    model = LanesOf(Answers(spec, ()), Plan("default", 2, lanes=2), spec)
    LATER.set()
    with pytest.raises(IndexError):
        evaluate(model, Data("classify", ("a", "b"), (ClassTruth(0),) * 9))


def test_classes_in_another_order_are_matched_by_name() -> None:
    data = Data("detect", ("Bee", "ant"), (truth((0, 0, 0, 4, 4)),))
    assert evaluate(Answers(DETECT, (found((1, 0.9, 0, 0, 4, 4)),)), data).metrics["map50"] == 1
    assert evaluate(Answers(DETECT, (found((0, 0.9, 0, 0, 4, 4)),)), data).metrics["map50"] == 0


@pytest.mark.parametrize(
    "labels", [("ant", "bee", "cat"), ("ant", "cat"), ("ant",), ("ant", "ant")]
)
def test_labels_that_do_not_fit_are_shown_side_by_side(labels: tuple[str, ...]) -> None:
    data = Data("detect", labels, (truth(),))
    with pytest.raises(SpecError, match=rf"{len(labels)} classes \(ant.*model's 2 \(ant, bee\)"):
        evaluate(Answers(DETECT, (found(),)), data)


def test_class_folders_may_be_fewer_than_the_models_classes() -> None:
    data = Data("classify", ("bee", "fire_hydrant"), (ClassTruth(0), ClassTruth(1), ClassTruth(1)))
    model = Answers(CLASSIFY, (classes(1, 0), classes(2, 0), classes(0, 2)))
    result = evaluate(model, data)
    assert result.metrics == {"top1": 2 / 3, "top5": 1.0}
    assert (result.headline, result.notes) == ("top1", ())


def test_a_model_without_labels_counts_by_number_and_says_so() -> None:
    data = Data("classify", ("x", "y"), (ClassTruth(1),))
    result = evaluate(Answers(ModelSpec("classify", "softmax"), (classes(1, 0),)), data)
    assert result.metrics["top1"] == 1
    assert "no labels" in result.notes[0]


def test_another_task_is_refused() -> None:
    data = Data("classify", ("ant", "bee"), (ClassTruth(0),))
    with pytest.raises(UsageError, match=r"'detect'.*'classify'"):
        evaluate(Answers(DETECT, (found(),)), data)


def test_a_model_that_hides_weak_detections_is_noted() -> None:
    spec = ModelSpec("detect", "yolov8", ("ant",), thresholds={"score": 0.25})
    data = Data("detect", (), (truth((0, 0, 0, 4, 4)),))
    assert "understated" in evaluate(Answers(spec, (found(),)), data).notes[0]


def test_the_json_is_valid_where_a_figure_does_not_exist() -> None:
    data = Data("detect", (), (truth(),))
    document = evaluate(Answers(DETECT, (found(),)), data).to_dict()
    assert document["metrics"]["map50"] is None
    assert (document["task"], document["n"]) == ("detect", 1)
    json.dumps(document, allow_nan=False)


def test_lists_that_differ_in_spelling_only_are_matched_by_number_and_that_is_said() -> None:
    ours = ["person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck"]
    models = ["person", "bicycle", "car", "motorbike", "airplane", "bus", "train", "truck"]
    found, notes = match_labels(ours, models, "detect")
    assert found is None
    assert "motorcycle" in notes[0]
    with pytest.raises(SpecError, match="motorcycle"):
        match_labels(ours, list(reversed(models)), "detect")
