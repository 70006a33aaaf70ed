"""Stored plans: used where everything is as it was measured, else not, with the reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer import cache
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import EdgeInferError, ModelFileError, UsageError
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.plan import Choice, find_variants, sealed, store_plan, stored, versions_of
from edgeinfer.providers import PROVIDERS

MakeModel = Callable[..., Path]
CONV = """
net (float[1, 3, 8, 8] images) => (float[1, 4, 8, 8] out)
<float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}>
{ out = Conv (images, w) }
"""
SPEC = {
    "schema": "edgeinfer.spec/1",
    "task": "tensor",
    "head": "tensor",
    "inputs": [{"name": "images", "kind": "image", "size_hw": [8, 8], "resize": "stretch"}],
}
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")
    yield


@pytest.fixture
def path(make_model: MakeModel) -> Path:
    return make_model(CONV, spec={**SPEC, "precision": "fp32"})


def coarser(make_model: MakeModel, path: Path, name: str = "small.onnx", **spec: Any) -> Path:
    """A variant: the same network with other weights, linked by the source's hash."""
    return make_model(
        CONV.replace("{1, 2,", "{1.5, 2,"),
        name=name,
        spec={
            **SPEC,
            "precision": "int8",
            "source_sha256": open_model_file(path).sha256,
            **spec,
        },
    )


def plan_for(path: Path, /, objective: str = "latency", **choice: Any) -> Path:
    """Store a plan as tune does."""
    with open_model(path, LoadOptions(use_plan=False)) as model:
        document = {
            "schema": "edgeinfer.plan/1",
            "objective": objective,
            "model": {
                "sha256": model.file.sha256,
                "inputs": [item.to_dict() for item in model.spec.inputs],
                "graph_inputs": [item.to_dict() for item in model.graph_inputs],
                "input_shapes": {},
            },
            "best": Choice(
                **{
                    "provider": "cpu",
                    "threads": 1,
                    "variant": model.file.sha256,
                    "path": path.resolve(),
                    "precision": "fp32",
                    **choice,
                }
            ).to_dict(),
            "machine": this_machine().to_dict(),
            "versions": versions_of("cpu"),
        }
        found = store_plan(model.file.sha256, sealed(document))
    assert found is not None
    return found


def opened(path: Path, **options: Any) -> tuple[str, str]:
    """Where the plan of an opened model came from, and its last note."""
    with open_model(path, LoadOptions(**options)) as model:
        return model.plan.source, model.notes[-1] if model.notes else ""


def test_nothing_stored_is_nothing_to_tell(path: Path) -> None:
    assert opened(path) == ("default", "")


def test_a_plan_that_fits_is_used_and_said(path: Path) -> None:
    plan_for(path, spinning=False)
    with edgeinfer.load(path) as model:
        assert model.plan.to_dict() == {
            "source": "tuned",
            "threads": 1,
            "sessions": 1,
            "preprocess": "host",
            "lanes": 1,
            "spinning": False,
        }
        assert model.served.threads == 1
        assert model.served.requested_provider == "auto"
        assert "1 thread" in model.notes[0]


def test_preprocessing_in_the_graph_comes_from_the_plan_with_the_same_outputs(path: Path) -> None:
    with edgeinfer.load(path) as model:
        expected = model(PICTURE).value.outputs["out"]
    plan_for(path, preprocess="graph")
    for _ in range(2):  # made, then found
        with edgeinfer.load(path) as model:
            assert (model.plan.source, model.plan.preprocess) == ("tuned", "graph")
            assert model.inputs[0].dtype == "uint8"
            assert model.spec.inputs[0].dtype == "float32"
            assert np.allclose(model(PICTURE).value.outputs["out"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 2}, "threads 2 instead of 1"),
        ({"lanes": 2}, "lanes 2 instead of 1"),
        ({"spinning": False}, "spinning off instead of on"),
        ({"preprocess": "graph"}, "preprocess graph instead of host"),
        ({"input_shapes": {"images": (1, 3, 8, 8)}}, "input shapes"),
        ({"threads": 2, "spinning": False}, "threads 2 instead of 1, spinning off"),
    ],
)
def test_options_that_contradict_it_leave_it_unused_and_that_is_said_in_one_note(
    path: Path, options: dict[str, Any], said: str
) -> None:
    plan_for(path)
    with open_model(path, LoadOptions(**options)) as model:
        assert model.plan.source in ("options", "default")
        (note,) = [note for note in model.notes if "plan" in note]
        assert said in note


@pytest.mark.parametrize("options", [{"threads": 1}, {"provider": "cpu"}, {"spinning": True}])
def test_options_that_agree_with_it_leave_it_in_use(path: Path, options: dict[str, Any]) -> None:
    plan_for(path)
    assert opened(path, **options)[0] == "tuned"


def test_each_objective_has_a_plan_and_the_frames_say_which_is_used(path: Path) -> None:
    plan_for(path, "throughput", threads=2, lanes=2)
    plan_for(path, "latency", spinning=False)
    assert len(list((cache.root() / "plans").iterdir())) == 2
    source, note = opened(path)
    assert source == "tuned" and "tuned for latency" in note and "each frame counts" in note
    source, note = opened(path, recording=True)
    assert source == "tuned" and "tuned for throughput" in note and "recording" in note
    # The last tuned of those that are not for throughput.
    plan_for(path, "efficiency")
    assert "tuned for efficiency), taken before others because it was" in opened(path)[1]
    assert "tuned for throughput" in opened(path, recording=True)[1]
    plan_for(path, "latency", spinning=False)
    assert "tuned for latency" in opened(path)[1]


def test_a_plan_for_something_else_is_better_than_none(path: Path) -> None:
    plan_for(path, "throughput", threads=2, lanes=2)
    source, note = opened(path)
    assert source == "tuned" and "tuned for throughput" in note and "others" not in note


def test_a_plan_for_throughput_takes_no_thread_from_frames_that_come_one_by_one(path: Path) -> None:
    plan_for(path, "throughput", threads=2, lanes=2)
    for named in (None, "throughput"):
        with open_model(path, LoadOptions(plan=named)) as model:
            assert (model.plan.source, model.plan.threads, model.plan.lanes) == ("tuned", 2, 1)
            assert model.served.threads == 2
            assert "one frame at a time, on all 2 threads" in model.notes[-1]
    for at_once in ({"lanes": 2}, {"recording": True}):
        with open_model(path, LoadOptions(**at_once)) as model:
            assert (model.plan.source, model.plan.threads, model.plan.lanes) == ("tuned", 2, 2)
            assert "at a time" not in model.notes[-1]


def test_what_keeps_the_first_plan_from_being_used_is_told(path: Path) -> None:
    plan_for(path, "latency")
    file = plan_for(path, "throughput", threads=2, lanes=2)
    file.write_text(file.read_text().replace('"lanes": 2', '"lanes": 1'))
    with open_model(path, LoadOptions(recording=True)) as model:
        assert "tuned for latency" in model.notes[-1]
        assert "another stored plan is not used" in model.notes[0]
        assert "edited" in model.notes[0]
    file.unlink()
    plan_for(path, "throughput", threads=2, lanes=2)
    with open_model(path, LoadOptions(threads=2)) as model:
        assert "tuned for throughput" in model.notes[-1]
        assert "the one for latency: the options say threads 2 instead of 1" in model.notes[0]


def test_a_plan_that_is_named_is_used_or_it_is_an_error(path: Path) -> None:
    plan_for(path, "latency")
    plan_for(path, "throughput", threads=2, lanes=2)
    assert "tuned for throughput" in opened(path, plan="throughput")[1]
    with pytest.raises(EdgeInferError, match="there is none.*tune .* --objective efficiency"):
        opened(path, plan="efficiency")
    with pytest.raises(EdgeInferError, match="threads 2 instead of 1"):
        opened(path, plan="latency", threads=2)
    with pytest.raises(UsageError, match="Did you mean 'latency'"):
        LoadOptions(plan="latncy")


def test_a_plan_of_the_time_when_there_was_one_for_all_is_read(path: Path) -> None:
    file = plan_for(path, "throughput", threads=2, lanes=2)
    old = file.with_name(f"{file.name.partition('.')[0]}.json")
    file.rename(old)
    assert "tuned for throughput" in opened(path)[1]
    # One for the same objective takes its place.
    plan_for(path, "throughput", threads=1)
    with edgeinfer.load(path) as model:
        assert model.plan.threads == 1
        assert "others" not in model.notes[-1]


def test_no_plan_means_no_plan_and_no_note(path: Path) -> None:
    plan_for(path)
    assert opened(path, use_plan=False) == ("default", "")


def test_another_machine_does_not_use_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_for(path)
    for change in ({"cpu": "another"}, {"cpus": 77}, {"quota_cpus": 1.5}, {"governor": "slow"}):
        other = dataclasses.replace(this_machine(), **change)
        monkeypatch.setattr(stored, "this_machine", lambda other=other: other)
        source, note = opened(path)
        assert source == "default"
        assert "out of date" in note and "edgeinfer tune" in note


def test_another_version_of_anything_does_not_use_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_for(path)
    real = versions_of("cpu")
    changes = [{**real, key: "0.0.1"} for key in real]
    changes += [{**real, "driver": "5"}, {"edgeinfer": real["edgeinfer"]}]
    for changed in changes:
        monkeypatch.setattr(stored, "versions_of", lambda provider, changed=changed: changed)
        source, note = opened(path)
        assert source == "default"
        assert "out of date" in note
    monkeypatch.undo()


def test_changed_bytes_of_the_model_are_another_model(path: Path, make_model: MakeModel) -> None:
    plan_for(path)
    make_model(CONV.replace("{1, 2,", "{2, 2,"), spec=SPEC)
    assert opened(path) == ("default", "")


def test_a_spec_that_changes_the_input_does_not_use_it(path: Path, tmp_path: Path) -> None:
    plan_for(path)
    other = tmp_path / "other.json"
    other.write_text('{"inputs": [{"name": "images", "mean": [0.5, 0.5, 0.5]}]}')
    source, note = opened(path, spec=other)
    assert source == "default" and "described in another way" in note
    # What does not change the input is no matter.
    other.write_text('{"labels": []}')
    assert opened(path, spec=other)[0] == "tuned"


def test_a_provider_that_is_gone_is_a_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_for(path)
    monkeypatch.setattr(stored, "PROVIDERS", {})
    source, note = opened(path)
    assert source == "default" and "'cpu' is gone" in note
    assert "cpu" in PROVIDERS


def edited(text: str) -> str:
    return text.replace('"threads": 1', '"threads": 2')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edited, "edited"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: "[" * 100_000, "damaged"),
        (lambda text: "[1]", "schema"),
        (lambda text: text.replace("plan/1", "plan/9"), "plan/9"),
        (lambda text: json.dumps(sealed({"schema": "edgeinfer.plan/1"})), "damaged"),
    ],
)
def test_a_plan_that_was_touched_is_not_used_and_is_kept(
    path: Path, damage: Callable[[str], str], said: str
) -> None:
    file = plan_for(path)
    touched = damage(file.read_text())
    file.write_text(touched)
    source, note = opened(path)
    assert source == "default"
    assert said in note
    assert file.read_text() == touched


@pytest.mark.parametrize("key", ["threads", "lanes", "preprocess", "sessions", "options", "path"])
def test_a_sealed_plan_with_a_value_that_means_nothing_is_not_used(path: Path, key: str) -> None:
    file = plan_for(path)
    document = json.loads(file.read_text())
    document["best"][key] = -7
    file.write_text(json.dumps(sealed(document)))
    source, note = opened(path)
    assert source == "default" and "damaged" in note


def test_a_variant_runs_by_the_plan_only(path: Path, make_model: MakeModel) -> None:
    small = coarser(make_model, path)
    source, note = opened(path, variants=(small,))
    assert source == "default"
    assert "--variant names what a stored plan may choose" in note
    sha = open_model_file(small).sha256
    plan_for(path, variant=sha, path=small.resolve(), precision="int8")
    with edgeinfer.load(path) as model:
        told = model.summary()["model"]
        assert (told["sha256"], told["path"]) == (sha, str(small))
        assert told["requested_sha256"] == open_model_file(path).sha256
        assert told["requested_path"] == str(path)
        assert told["precision"] == "int8"
        assert f"{small} runs in place of {path}" in model.notes[-1]
    with edgeinfer.load(path, use_plan=False) as model:
        assert model.summary()["model"]["sha256"] == open_model_file(path).sha256


def test_a_variant_that_moved_is_found_by_its_content(
    path: Path, make_model: MakeModel, tmp_path: Path
) -> None:
    small = coarser(make_model, path)
    gone = tmp_path / "gone" / "small.onnx"
    plan_for(path, variant=open_model_file(small).sha256, path=gone, precision="int8")
    assert opened(path)[0] == "tuned"
    elsewhere = tmp_path / "elsewhere.onnx"
    small.rename(elsewhere)
    source, note = opened(path)
    assert source == "default" and "missing; name it with --variant" in note
    assert opened(path, variants=(elsewhere,))[0] == "tuned"


def test_a_variant_that_was_swapped_is_not_run(path: Path, make_model: MakeModel) -> None:
    small = coarser(make_model, path)
    plan_for(path, variant=open_model_file(small).sha256, path=small.resolve(), precision="int8")
    coarser(make_model, path, labels=["swapped"])
    source, note = opened(path)
    assert source == "default" and "has changed since" in note


def test_variants_are_found_by_the_hash_of_their_source_never_by_name(
    path: Path, make_model: MakeModel
) -> None:
    small = coarser(make_model, path, "unlike.onnx")
    make_model(CONV, name="model_int8.onnx", spec={**SPEC, "source_sha256": "f" * 64})
    make_model(CONV.replace("{1,", "{3,"), name="plain.onnx")
    (path.parent / "broken.onnx").write_bytes(b"\xff" * 300)
    (path.parent / "empty.onnx").write_bytes(b"")
    found = find_variants(open_model_file(path), ())
    assert [item.file.path.name for item in found] == ["model.onnx", "unlike.onnx"]
    assert [item.precision for item in found] == ["fp32", "int8"]
    # From a variant, its siblings and its source are found.
    other = coarser(make_model, path, "other.onnx", precision="fp16")
    names = {item.file.path.name for item in find_variants(open_model_file(small), ())}
    assert names == {"unlike.onnx", "other.onnx", "model.onnx"}
    assert other.exists()


def test_a_file_that_is_named_and_is_no_variant_is_refused(
    path: Path, make_model: MakeModel
) -> None:
    stranger = make_model(CONV, name="stranger.onnx", spec={**SPEC, "source_sha256": "f" * 64})
    with pytest.raises(ModelFileError, match="no variant of .* export them from"):
        find_variants(open_model_file(path), (stranger,))
    with pytest.raises(ModelFileError, match="does not exist"):
        find_variants(open_model_file(path), (path.parent / "nowhere.onnx",))


def test_a_variant_that_is_none_is_refused_though_no_plan_asks_for_it(
    brightness_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError):
        open_model(brightness_model, LoadOptions(variants=(tmp_path / "missing.onnx",)))
