"""Outputs that turn out to be something else than what the head reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.errors import SpecError
from edgeinfer.results import Tensors

MakeModel = Callable[..., Path]
# Declares one thing, gives another: its shapes are known only when it runs.
SHAPED = """
net (float[1, 3, 64, 64] images) => (float[N, 7, M] out)
<int64[3] shape = {%s}, float[1] value = {%s}>
{ least = ReduceMin <keepdims = 0> (images)
  none = Sub(least, least)
  wide = Expand(value, shape)
  out = Add(wide, none) }
"""
SPEC = {
    "task": "detect",
    "head": "yolov8",
    "labels": ["a", "b", "c"],
    "inputs": [{"name": "images", "kind": "image", "size_hw": [64, 64]}],
}
PICTURE = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize("shape", ["2, 7, 84", "0, 7, 84", "1, 4, 84"])
def test_they_are_an_error_and_never_a_crash(make_model: MakeModel, shape: str) -> None:
    # Where the runtime works the shape out beforehand, opening says so.
    path = make_model(SHAPED % (shape, "0"), spec=SPEC)
    with (
        pytest.raises(SpecError, match=r"'yolov8'.*\[.*84\].*--head"),
        edgeinfer.load(path) as model,
    ):
        model(PICTURE)


def test_no_predictions_at_all_are_nothing_found(make_model: MakeModel) -> None:
    with edgeinfer.load(make_model(SHAPED % ("1, 7, 0", "0"), spec=SPEC)) as model:
        assert model(PICTURE).to_dict()["detections"] == []


def test_numbers_too_large_are_flagged_without_a_warning(make_model: MakeModel) -> None:
    spec = {**SPEC, "head": "yolox", "labels": ["a", "b"]}
    text = SHAPED.replace("float[N, 7, M]", "float[1, M, 7]") % ("1, 84, 7", "3e38")
    with edgeinfer.load(make_model(text, spec=spec)) as model, pytest.raises(SpecError):
        model(PICTURE)


def test_a_summary_of_infinite_numbers_is_written_without_a_warning() -> None:
    outputs = Tensors({"out": np.full(2000, np.inf, np.float32)})
    assert outputs.to_dict()["outputs"]["out"]["summary"]["max"] == np.inf
