"""load(): a file in, typed results out."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer import cache
from edgeinfer.errors import InputError, SpecError, UsageError
from edgeinfer.model import LoadOptions, open_model, session
from edgeinfer.results import Classes

MakeModel = Callable[..., Path]
BRIGHT = np.full((16, 24, 3), 230, np.uint8)
DARK = np.full((16, 24, 3), 20, np.uint8)
CONV = """
net (float[1, 3, 8, 8] images) => (float[1, 4, 8, 8] out)
<float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}>
{ out = Conv (images, w) }
"""
CONV_SPEC = {
    "schema": "edgeinfer.spec/1",
    "task": "tensor",
    "head": "tensor",
    "inputs": [{"name": "images", "kind": "image", "size_hw": [8, 8], "resize": "stretch"}],
}


def best(result: edgeinfer.Result) -> str:
    assert isinstance(result.value, Classes)
    return result.to_dict()["classes"][0]["label"]


def test_pictures_become_typed_results(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        bright, dark = model(BRIGHT), model(DARK)
    assert (best(bright), best(dark)) == ("bright", "dark")
    # Softmax of [230 / 255, 0.5].
    expected = 1 / (1 + np.exp(0.5 - 230 / 255))
    assert bright.value.scores[0] == pytest.approx(expected, abs=1e-5)
    assert bright.frame.size_wh == (24, 16)
    assert bright.latency_ns >= sum(
        bright.stages_ns[stage] for stage in ("preprocess", "inference", "postprocess")
    )


def test_a_result_keeps_its_values_after_the_next_frame(make_model: MakeModel) -> None:
    with edgeinfer.load(make_model(CONV, spec=CONV_SPEC)) as model:
        first = model(BRIGHT)
        kept = first.value.outputs["out"].copy()
        model(DARK)
    assert np.array_equal(first.value.outputs["out"], kept)


def test_a_grey_frame_counts_as_a_colour_frame(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        assert best(model(BRIGHT[:, :, 0].copy())) == "bright"


def test_arrays_and_pictures_do_not_disturb_each_other(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        before = model(BRIGHT).value.scores
        model({"images": np.zeros((1, 3, 8, 8), np.float32)})
        model({"": np.ones((1, 3, 8, 8), np.float32)})
        assert np.array_equal(model(BRIGHT).value.scores, before)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (BRIGHT.astype(np.float32), "uint8"),
        (np.zeros((2, 2, 2, 3), np.uint8), "one by one"),
        ({"images": np.zeros((1, 3, 8, 9), np.float32)}, r"\[1, 3, 8, 8\]"),
        ({"picture": np.zeros((1, 3, 8, 8), np.float32)}, "no input 'picture'"),
        ("bus.jpg", "str"),
    ],
)
def test_a_frame_that_the_model_does_not_take_is_refused(
    brightness_model: Path, frame: object, said: str
) -> None:
    with edgeinfer.load(brightness_model) as model:
        with pytest.raises(InputError, match=said):
            model(frame)  # type: ignore[arg-type]
        assert best(model(BRIGHT)) == "bright"


def test_a_picture_for_a_model_of_arrays_says_what_it_takes(make_model: MakeModel) -> None:
    path = make_model("net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }")
    with edgeinfer.load(path) as model, pytest.raises(InputError, match=r"x \[1, 4\]"):
        model(BRIGHT)


def test_a_float16_model_gets_float16_pixels(make_model: MakeModel) -> None:
    path = make_model(
        "net (float16[1, 3, 8, 8] images) => (float16[1, 3, 8, 8] out) { out = Relu(images) }",
        spec={**CONV_SPEC, "inputs": [{**CONV_SPEC["inputs"][0], "dtype": "float16"}]},
    )
    with edgeinfer.load(path, "cpu") as model:
        out = model(BRIGHT).value.outputs["out"]
    assert out.dtype == np.float16
    assert float(out.max()) == pytest.approx(230 / 255, abs=1e-3)
    assert model.served.compute_precision == "fp16"


def test_a_closed_model_says_so(brightness_model: Path) -> None:
    model = edgeinfer.load(brightness_model)
    model.close()
    model.close()
    with pytest.raises(InputError, match="closed"):
        model(BRIGHT)


def test_an_open_shape_is_filled_from_the_options(make_model: MakeModel) -> None:
    path = make_model(
        "net (float[b, 3, h, w] images) => (float[b, 3, h, w] out) { out = Relu(images) }"
    )
    options = LoadOptions(input_shapes={"images": (1, 3, 20, 30)}, task="tensor")
    with open_model(path, options) as model:
        assert model(BRIGHT).to_dict()["outputs"]["out"]["shape"] == [1, 3, 20, 30]
    with pytest.raises(UsageError, match="Did you mean 'images'"):
        open_model(path, LoadOptions(input_shapes={"image": (1, 3, 20, 30)}))


def test_a_batch_of_more_than_one_is_refused(make_model: MakeModel) -> None:
    path = make_model(
        "net (float[4, 3, 8, 8] images) => (float[4, 3, 8, 8] out) { out = Relu(images) }"
    )
    with pytest.raises(SpecError, match="batches of 4"):
        edgeinfer.load(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"score_threshold": 1.5}, "1.5"),
        ({"max_detections": 0}, "max_detections"),
        ({"preprocess": "gpu"}, "'gpu'"),
        ({"lanes": 99}, "lanes is 99"),
        ({"input_shapes": {"x": (0, 1)}}, "below 1"),
    ],
)
def test_options_out_of_range_are_usage_errors(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        LoadOptions(**options)


def test_lanes_of_one_model_run_at_the_same_time(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        wrong: list[str] = []

        def drive(picture: np.ndarray, expected: str) -> None:
            lane = model.lane()
            for _ in range(200):
                found = best(lane.predict(edgeinfer.frames.frame_from_array(picture)))
                if found != expected:
                    wrong.append(found)

        threads = [
            threading.Thread(target=drive, args=pair)
            for pair in ((BRIGHT, "bright"), (DARK, "dark"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_lanes_share_the_threads(brightness_model: Path) -> None:
    with open_model(brightness_model, LoadOptions(threads=4, lanes=2)) as model:
        assert model.served.threads == 2
        assert (model.plan.threads, model.plan.lanes) == (4, 2)


def test_far_more_threads_than_processors_are_refused_and_some_more_are_told(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "usable_cpus", lambda: 2)
    with pytest.raises(UsageError, match="may use 2 processors"):
        edgeinfer.load(brightness_model, threads=1000)
    with edgeinfer.load(brightness_model, threads=3) as model:
        assert "3 threads share 2 processors" in model.notes[0]
    with edgeinfer.load(brightness_model, threads=2) as model:
        assert model.notes == ()


def test_idle_threads_wait_as_they_are_told(brightness_model: Path) -> None:
    for spinning, expected in ((None, True), (True, True), (False, False)):
        with edgeinfer.load(brightness_model, spinning=spinning) as model:
            assert model.plan.spinning is expected


def test_what_ran_and_what_was_asked_for_are_told_apart(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        told = model.summary()["model"]
    assert told["path"] == told["requested_path"] == str(brightness_model)
    assert told["sha256"] == told["requested_sha256"] == model.file.sha256


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_none_are_flagged_without_a_warning(make_model: MakeModel) -> None:
    body = """
    net (float[1, 3, 8, 8] images) => (float[1, 4] out)
    <float zero = {0}, int64[1] axis = {1}> {
      q = Div (images, zero) s = ReduceMax <keepdims = 0, axes = [2, 3]> (q)
      m = ReduceMax <keepdims = 1, axes = [1]> (s) out = Concat <axis = 1> (s, m)
    }
    """
    spec = {**CONV_SPEC, "task": "classify", "head": "logits"}
    before = np.geterr()
    with edgeinfer.load(make_model(body, spec=spec)) as model:
        assert "nonfinite" in model(BRIGHT).flags
    assert np.geterr() == before


def test_lanes_that_nobody_holds_are_let_go(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        for _ in range(5):
            model.lane()
        gc.collect()
        assert len(model._lanes) == 0


def test_opening_models_again_and_again_lets_the_callers_garbage_be_collected(
    brightness_model: Path,
) -> None:
    edgeinfer.load(brightness_model).close()
    alive: list[weakref.ref[Cycle]] = []
    for _ in range(40):
        alive += [weakref.ref(Cycle()) for _ in range(100)]
        edgeinfer.load(brightness_model).close()
    assert sum(item() is not None for item in alive) < len(alive) / 2


@pytest.mark.parametrize("name", ["", "file"])
def test_a_cache_folder_that_is_none_is_refused(
    brightness_model: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cache_dir.*no folder"):
        edgeinfer.load(brightness_model, cache_dir=name and tmp_path / name)


class Cycle:
    """Only the garbage collector can free it."""

    def __init__(self) -> None:
        self.own = self


def test_preprocessing_in_the_graph_gives_the_same_outputs(make_model: MakeModel) -> None:
    path = make_model(CONV, spec=CONV_SPEC)
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    with edgeinfer.load(path) as host:
        expected = host(picture).value.outputs["out"]
    with edgeinfer.load(path, options=LoadOptions(preprocess="graph")) as graph:
        found = graph(picture).value.outputs["out"]
        assert graph.inputs[0].dtype == "uint8"
        assert graph.plan.preprocess == "graph"
        assert graph.spec.inputs[0].dtype == "float32"
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


def test_a_model_that_cannot_take_raw_pictures_says_so(make_model: MakeModel) -> None:
    path = make_model("net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }")
    with pytest.raises(SpecError, match="--preprocess host"):
        edgeinfer.load(path, options=LoadOptions(preprocess="graph"))


def test_a_damaged_rewritten_graph_is_made_anew(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")
    path = make_model(CONV, spec=CONV_SPEC)
    options = LoadOptions(preprocess="graph")
    for damage in (b"", b"half of it"):
        with edgeinfer.load(path, options=options) as model:
            assert model.plan.preprocess == "graph"
        (stored,) = (tmp_path / "cache").rglob("*.onnx")
        stored.write_bytes(damage)


def test_thresholds_and_labels_can_be_overridden(brightness_model: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("hell\ndunkel\n")
    with edgeinfer.load(brightness_model, labels=labels, score_threshold=0.55) as model:
        found = model(BRIGHT).to_dict()["classes"]
    assert [item["label"] for item in found] == ["hell"]


def test_a_shape_that_contradicts_the_file_is_refused(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        (item,) = model.graph_inputs
    assert 640 not in item.shape
    with pytest.raises(SpecError, match="640.*only open dimensions"):
        open_model(brightness_model, LoadOptions("cpu", input_shapes={item.name: (1, 3, 640, 640)}))


def test_an_output_that_is_listed_twice_is_given_once(make_model: MakeModel) -> None:
    body = "net (float[1, 3] x) => (float[1, 3] y, float[1, 3] y) { y = Sqrt (x) }"
    with edgeinfer.load(make_model(body)) as model:
        result = model({"x": np.ones((1, 3), np.float32)})
    assert list(result.value.outputs) == ["y"]
