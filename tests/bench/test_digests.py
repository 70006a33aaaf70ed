from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeinfer.results import Classes, Detections, Tensors
from edgeinfer.testing import FakeClock, StubModel
from edgeinfer_bench.digests import OutputWatch, digest


def detections(score: float, x: float = 1.0) -> Detections:
    return Detections(
        np.array([[x, 2, 3, 4]], np.float32),
        np.array([score], np.float32),
        np.array([0], np.int64),
        ("a",),
    )


def test_equal_values_have_equal_digests() -> None:
    assert digest(detections(0.5)) == digest(detections(0.5))


@pytest.mark.parametrize("other", [detections(0.6), detections(0.5, 1.5)])
def test_a_change_in_any_array_changes_the_digest(other: Detections) -> None:
    assert digest(detections(0.5)) != digest(other)


def test_arrays_of_every_layout_and_size_have_a_digest() -> None:
    large = np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)
    digest(Tensors({"a": large.T, "b": np.zeros((0, 4), np.float16)}))
    assert digest(Tensors({"a": large})) != digest(Tensors({"a": large + 1}))
    digest(Classes(np.zeros(0, np.int64), np.zeros(0, np.float32)))


def test_a_payload_that_is_no_dataclass_is_digested_by_its_json() -> None:
    class Text:
        def __init__(self, text: str) -> None:
            self.text = text

        def to_dict(self) -> dict[str, str]:
            return {"text": self.text}

    assert digest(Text("a")) == digest(Text("a"))
    assert digest(Text("a")) != digest(Text("b"))


def test_the_same_frame_with_another_output_is_counted() -> None:
    ones, twos = np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32)
    model = StubModel(FakeClock(), outputs=[ones, ones, twos])
    picture = np.zeros((4, 4, 3), np.uint8)
    watch = OutputWatch()
    for _ in range(3):
        watch.see(model(picture))
    assert (watch.compared, watch.changed) == (2, 1)


def test_different_frames_are_not_compared() -> None:
    result = StubModel(FakeClock())(np.zeros((4, 4, 3), np.uint8))
    watch = OutputWatch()
    for index in range(600):
        frame = dataclasses.replace(result.frame, index=index)
        watch.see(dataclasses.replace(result, frame=frame))
    assert watch.compared == 0
