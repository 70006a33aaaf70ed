from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer import cache
from edgeinfer.artifact import ModelFile
from edgeinfer.child import Child
from edgeinfer.model import LoadOptions
from edgeinfer.plan import Variant
from edgeinfer.remote import Remote
from edgeinfer.tune.candidate import Pace
from edgeinfer.tune.space import Space
from edgeinfer.tune.worker import options_to
from edgeinfer_bench.goals import __main__ as command
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.providers.subjects import SUBJECTS, Subject, subject
from edgeinfer_bench.goals.providers.sweep import Arena, grid
from edgeinfer_bench.models import MODELS, yolov8n_like
from edgeinfer_bench.peers.plain_detector import Detector

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A model that takes next to no time, with its INT8 variant."""
    return subject(Context(tmp_path_factory.mktemp("goals"), 0.1, print), "lstm-like", 8)


@pytest.fixture
def frames(tmp_path: Path) -> Iterator[Path]:
    """A folder with two pictures, as `tune` writes them."""
    folder = tmp_path / "frames"
    folder.mkdir()
    source = edgeinfer.open_source("synthetic:1280x720")
    for index in range(2):
        np.save(folder / f"{index}.npy", next(source).data)
    source.close()
    yield folder


def test_every_model_of_the_table_is_measured() -> None:
    assert {name for name, _ in SUBJECTS} == set(MODELS)


def test_a_subject_has_a_variant_made_from_it(small: Subject) -> None:
    from edgeinfer.artifact import open_model_file
    from edgeinfer.plan import find_variants

    found = find_variants(open_model_file(small.path), ())
    assert {one.precision for one in found} == {"fp32", "int8"}
    assert not list(small.path.parent.glob("unfinished*"))


def test_the_grid_holds_every_combination_once(tmp_path: Path) -> None:
    variants = tuple(
        Variant(ModelFile(tmp_path / f"{name}.onnx", name, 0), "", name)
        for name in ("fp32", "int8")
    )
    place = Space(
        variants=variants,
        providers={"openvino": ({}, {"INFERENCE_PRECISION_HINT": "bf16"}), "cpu": ({},)},
        skipped={},
        threads=(2, 1),
        spinning=(True, False),
        lanes=(1,),
        preprocess=("host", "graph"),
    )
    choices = list(grid(place))
    keys = [choice.key for choice in choices]
    assert len(keys) == len(set(keys))
    # Spinning is a choice of the CPU provider with several threads only.
    assert len([one for one in choices if one.provider == "openvino"]) == 2 * 2 * 2 * 2
    assert len([one for one in choices if one.provider == "cpu"]) == 2 * 2 * (2 + 1)
    assert place.default().key in keys


def test_a_sweep_measures_all_and_two_configurations_race_to_the_end(small: Subject) -> None:
    with closing(Arena(small, Pace("latency", 0, 5_000_000))) as arena:
        total = len(list(grid(arena.space)))
        swept = arena.sweep(2)
        assert swept.measured + swept.refused == total
        assert swept.measured >= total // 2  # FP32 at least
        best, again = arena.compare(swept.best, swept.best, 3)
    assert len(best.blocks) == len(again.blocks) == 3 * 3  # processes of each
    assert all(block.samples_ns for block in best.blocks)


def test_the_hand_written_script_finds_what_edgeinfer_finds(tmp_path: Path, frames: Path) -> None:
    path = yolov8n_like(tmp_path)
    picture = np.load(frames / "0.npy")
    theirs = Detector(str(path))(picture)
    with edgeinfer.load(path, "cpu", threads=1) as model:
        ours = model(picture).value
    assert isinstance(ours, edgeinfer.Detections)
    assert sorted(item[0] for item in theirs) == sorted(ours.class_ids.tolist())
    best = max(theirs, key=lambda item: item[1])
    assert best[1] == pytest.approx(float(ours.scores[0]), abs=0.02)
    left, top, width, height = best[2]
    corners = [left, top, left + width, top + height]
    # The picture's edge cuts ours, not theirs.
    inside = np.clip(corners, 0, [1280, 720, 1280, 720])
    np.testing.assert_allclose(inside, ours.boxes_xyxy[0], atol=8)


def test_both_sides_answer_in_processes_of_their_own(tmp_path: Path, frames: Path) -> None:
    path = yolov8n_like(tmp_path, 64)
    plain = Remote(Child("edgeinfer_bench.peers.plain_detector"))
    user = Remote(Child("edgeinfer_bench.goals.providers.user"))
    try:
        opening = {"options": options_to(LoadOptions()), "cache": str(cache.root().parent)}
        plain.ask({"do": "open", "path": str(path)}, 60)
        opened = user.ask({"do": "open", "path": str(path), **opening}, 60)
        assert opened["plan"]["source"] == "default"
        for remote in (plain, user):
            assert remote.ask({"do": "frames", "folder": str(frames)}, 60)["count"] == 2
            answer = remote.ask({"do": "block", "frames": 3, "interval_ns": 0}, 60)
            assert len(answer["samples"]) == len(answer["inference"]) == 3
            pairs = zip(answer["samples"], answer["inference"], strict=True)
            assert all(frame > inner > 0 for frame, inner in pairs)
        assert user.ask({"do": "rate", "frames": 4}, 60)["fps"] > 0
    finally:
        plain.close()
        user.close()


def test_the_report_says_what_was_not_measured_and_why(tmp_path: Path) -> None:
    def part(context: Context) -> list[Goal]:
        context.note("not measured: no OpenVINO here")
        return [Goal("quick enough", 1.0, 1.2, "times")]

    report = tmp_path / "providers.md"
    arguments = ["--report", str(report), "--work", str(tmp_path / "work")]
    before = cache.root().parent
    try:
        assert command.main(arguments, {"plain": part}, "edgeinfer_bench.goals.providers") == 0
    finally:
        cache.set_root(before)
    text = report.read_text()
    assert "- not measured: no OpenVINO here" in text
    assert "python -m edgeinfer_bench.goals.providers --report" in text
    assert json.loads(report.with_suffix(".json").read_text())["notes"]
