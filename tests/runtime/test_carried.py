"""What a stream feeds beside its frames: state, constants, context."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main as cli
from edgeinfer.errors import InputError, SpecError
from edgeinfer.model import LoadOptions, open_model

SUM = """
net (float[1, N] x, float[1, 1] before, float factor) => (float[1, 1] total, float[1, 1] now)
{
  scaled = Mul(x, factor)
  part = ReduceSum <keepdims = 1> (scaled)
  now = Add(part, before)
  total = Identity(now)
}
"""
ONE = np.ones((1, 1), np.float32)


def spec_of(**inputs: Any) -> dict[str, Any]:
    return {
        "task": "sequence",
        "head": "sequence",
        "state": {"now": "before"},
        "inputs": [{"name": "x", "kind": "tensor", **inputs}]
        + [{"name": "factor", "kind": "tensor", "value": 2}],
    }


def total(model: edgeinfer.Model, *values: float) -> float:
    result = model({"": np.array([values], np.float32)})
    assert list(result.to_dict()["outputs"]) == ["total"]
    return float(result.to_dict()["outputs"]["total"]["values"][0])


def test_state_and_constants_are_carried_from_call_to_call(make_model: Any) -> None:
    with edgeinfer.load(make_model(SUM, spec=spec_of())) as model:
        assert [total(model, 1, 2), total(model, 3), total(model, 1)] == [6, 12, 14]
        model.reset()
        assert total(model, 1) == 2


def test_every_lane_has_a_state_of_its_own(make_model: Any) -> None:
    with edgeinfer.load(make_model(SUM, spec=spec_of())) as model:
        one, other = model.lane(), model.lane()
        frame = edgeinfer.frames.frame_from_array({"": np.ones((1, 1), np.float32)})
        one.predict(frame)
        assert one.predict(frame).to_dict()["outputs"]["total"]["values"] == [4]
        assert other.predict(frame).to_dict()["outputs"]["total"]["values"] == [2]


@pytest.mark.parametrize("name", ["x", ""])
def test_a_recording_is_run_step_by_step(make_model: Any, tmp_path: Path, name: str) -> None:
    """One lane takes every step, however many of them wait; another recording begins anew."""
    steps, out = tmp_path / ("steps.npz" if name else "steps.npy"), tmp_path / "out.jsonl"
    rows = np.ones((100, 1), np.float32)
    if name:
        np.savez(steps, x=rows)
    else:
        np.save(steps, rows)
    model = make_model(SUM, spec=spec_of())
    assert cli.main(["run", str(model), str(steps), str(steps), "--json", str(out)]) == 0
    read = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["frame"] for line in read] == [*range(100)] * 2
    totals = [line["outputs"]["total"]["values"][0] for line in read]
    assert totals == [*range(2, 202, 2)] * 2


def test_the_frames_of_a_video_are_steps_and_another_video_begins_anew(make_model: Any) -> None:
    """The same name, too: then its frames are counted from the start again."""
    with edgeinfer.load(make_model(SUM, spec=spec_of())) as model:
        lane, found = model.lane(), []
        for stream, index in (("a", 0), ("a", 1), ("b", 0), ("b", 5), ("b", 0)):
            frame = edgeinfer.frames.frame_from_array({"": ONE}, stream, index)
            found.append(lane.predict(frame).to_dict()["outputs"]["total"]["values"][0])
    assert found == [2, 4, 2, 4, 2]


def test_what_comes_after_a_gap_begins_anew_and_says_so(make_model: Any) -> None:
    with edgeinfer.load(make_model(SUM, spec=spec_of())) as model:
        lane, results = model.lane(), []
        for index, restarts in enumerate((0, 0, 1, 1, 3)):
            frame = edgeinfer.frames.frame_from_array({"": ONE}, "camera", index)
            identity = dataclasses.replace(frame.id, restarts=restarts)
            results.append(lane.predict(dataclasses.replace(frame, id=identity)))
    totals = [result.to_dict()["outputs"]["total"]["values"][0] for result in results]
    assert totals == [2, 4, 2, 4, 2]
    assert [result.flags for result in results] == [(), (), ("reconnected",), (), ("reconnected",)]


def test_a_frame_brings_neither_state_nor_constants_nor_context(make_model: Any) -> None:
    text = SUM.replace("[1, N] x", "[1, 5] x")
    with edgeinfer.load(make_model(text, spec=spec_of(context=2))) as model:
        (given,) = model.given_inputs
    assert (given.name, given.shape) == ("x", (1, 3))


def test_context_is_put_before_each_frame(make_model: Any) -> None:
    with edgeinfer.load(make_model(SUM, spec=spec_of(context=2))) as model:
        # [0 0 1 2], then [1 2 3], then [2 3 4]: twice their sums, added up.
        assert [total(model, 1, 2), total(model, 3), total(model, 4)] == [6, 18, 36]


def test_given_arrays_win_over_constants(make_model: Any) -> None:
    with edgeinfer.load(make_model(SUM, spec=spec_of())) as model:
        given = {"x": np.ones((1, 1), np.float32), "factor": np.array(5, np.float32)}
        assert model(given).to_dict()["outputs"]["total"]["values"] == [5]


def test_frames_that_depend_on_each_other_go_one_by_one(make_model: Any) -> None:
    options = LoadOptions(lanes=2, recording=True, threads=2)
    with open_model(make_model(SUM, spec=spec_of()), options) as model:
        assert model.plan.lanes == 1
        assert model.served.threads == 2


def test_a_picture_model_may_carry_state(make_model: Any) -> None:
    path = make_model(
        """
        net (float[1, 1, 4, 4] images, float[1] before) => (float[1] now)
        { flat = ReduceMean <keepdims = 0> (images)
          now = Add(flat, before) }
        """,
        spec={
            "task": "tensor",
            "head": "tensor",
            "state": {"now": "before"},
            "inputs": [
                {
                    "name": "images",
                    "kind": "image",
                    "color": "gray",
                    "scale": 1,
                    "resize": "stretch",
                }
            ],
        },
    )
    with edgeinfer.load(path) as model:
        picture = np.full((4, 4), 3, np.uint8)
        values = [model(picture).to_dict()["outputs"]["now"]["values"] for _ in range(3)]
    assert values == [[3], [6], [9]]


@pytest.mark.parametrize(
    ("state", "said"),
    [({"later": "before"}, "output 'later'"), ({"now": "befor"}, "Did you mean 'before'")],
)
def test_state_that_the_graph_lacks_is_named(
    make_model: Any, state: dict[str, str], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        edgeinfer.load(make_model(SUM, spec={**spec_of(), "state": state}))


def test_an_input_without_a_constant_is_asked_for(make_model: Any, tmp_path: Path) -> None:
    (tmp_path / "model.spec.json").write_text(json.dumps({"task": "tensor", "head": "tensor",
        "inputs": [{"name": "x", "kind": "tensor"}]}))  # fmt: skip
    with (
        edgeinfer.load(make_model(SUM)) as model,
        pytest.raises(InputError, match="x, before, factor.*'value'"),
    ):
        model({"": np.ones((1, 1), np.float32)})


def test_carried_inputs_survive_the_way_through_json(make_model: Any, tmp_path: Path) -> None:
    with edgeinfer.load(make_model(SUM, spec=spec_of(context=2))) as model:
        document = model.spec.to_dict()
        spec = model.spec
    again = make_model(SUM, "again.onnx", spec=document)
    with edgeinfer.load(again) as model:
        assert model.spec == spec
        assert [item.value for item in model.spec.inputs] == [None, None, 2.0]


@pytest.mark.parametrize(
    ("outputs", "state", "said"),
    [
        (
            "float[1, 10] now",
            {"now": "before"},
            r"float32 \[1, 10\].*float32 \[1, 4\]",
        ),
        ("double[1, 4] now", {"now": "before"}, r"float64 \[1, 4\].*float32"),
        ("float[1, 3, 8, 8] now", {"now": "images"}, "takes a picture"),
    ],
)
def test_state_that_its_input_does_not_take_is_refused(
    make_model: Any, outputs: str, state: dict[str, str], said: str
) -> None:
    shape = outputs.partition("[")[2].partition("]")[0]
    kind = "double" if outputs.startswith("double") else "float"
    body = f"""
    net (float[1, 3, 8, 8] images, float[1, 4] before) => ({outputs})
    <{kind} fill = {{0}}, int64[{shape.count(",") + 1}] shape = {{{shape}}}>
    {{ now = Expand (fill, shape) }}
    """
    path = make_model(body, spec={"task": "tensor", "head": "tensor", "state": state})
    with pytest.raises(SpecError, match=said):
        edgeinfer.load(path)
