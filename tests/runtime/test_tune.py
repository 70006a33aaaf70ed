"""tune(): real models, real processes, small budgets. No time is asserted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
import edgeinfer_export
from edgeinfer import cache
from edgeinfer.artifact import open_model_file
from edgeinfer.child import Child
from edgeinfer.cli.main import main
from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.remote import Remote, WorkerFailed
from edgeinfer.tune import TuneOptions, tune
from edgeinfer.tune.budget import Budget

DATA = Path(edgeinfer.__file__).parent / "cli" / "demo_data"
SHORT = 1.5


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's detector in INT8, linked to its source by hash."""
    path = tmp_path_factory.mktemp("int8") / "digits.int8.onnx"
    edgeinfer_export.export(
        DATA / "digits.onnx", path, precision="int8", calibration=DATA / "calibration"
    )
    return path


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return Path(shutil.copy(DATA / "digits.onnx", folder / "digits.onnx"))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path / "cache"))
    yield


@pytest.fixture(autouse=True)
def _unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are opened however slow the box is; only tests of the budget count the time."""
    if "hurried" not in request.fixturenames:
        monkeypatch.setattr(Budget, "affordable", lambda *_: 8)


@pytest.fixture
def hurried() -> None:
    """The budget counts."""


def plans(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("plans/*.json"))


def by_precision(document: Any, precision: str) -> list[dict[str, Any]]:
    return [item for item in document["candidates"] if item["precision"] == precision]


def test_what_wins_is_stored_with_its_evidence_and_then_runs(
    detector: Path, int8: Path, tmp_path: Path
) -> None:
    asked = TuneOptions(source=str(DATA / "conveyor.mp4"), budget_s=SHORT)
    seen: list[tuple[str, float]] = []
    options = LoadOptions(variants=(int8,), provider="cpu")
    tuned = tune(detector, options, asked, lambda text, share: seen.append((text, share)))
    document = tuned.document
    assert document["schema"] == "edgeinfer.plan/1"
    assert "frames" in document["statistic"]
    assert document["parity"]["objects"] > 0
    (chosen,) = [item for item in document["candidates"] if item["rejected"] is None]
    assert chosen == document["best"]
    assert chosen["typical_ns"] > 0 and chosen["frames"] > 0
    # Both files were opened and compared with the reference.
    for precision, limits in (("fp32", "same precision"), ("int8", "integer precision")):
        measured = by_precision(document, precision)
        assert measured and all(item["parity"]["limits"] == limits for item in measured)
        assert all(item["parity"]["agreement"] > 0.9 for item in measured)
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert plans(tmp_path) == [tuned.path]
    with edgeinfer.load(detector, variants=(int8,)) as model:
        assert model.plan.source == "tuned"
        assert model.summary()["model"]["sha256"] == chosen["variant"]
        assert model.plan.threads == chosen["threads"]


@pytest.mark.slow
def test_without_inputs_that_tell_no_lower_precision_is_chosen(detector: Path, int8: Path) -> None:
    shutil.copy(int8, detector.parent)  # found beside the model
    document = tune(detector, asked=TuneOptions(budget_s=SHORT)).document
    lower = by_precision(document, "int8")
    assert lower
    assert all("--validation" in item["rejected"] for item in lower)
    assert document["best"]["precision"] == "fp32"
    assert "made-up frames" in document["notes"][0]


@pytest.mark.slow
def test_frames_on_which_nothing_is_to_be_seen_count_as_none(
    detector: Path, int8: Path, tmp_path: Path
) -> None:
    import cv2

    picture = tmp_path / "black.png"
    cv2.imwrite(str(picture), np.zeros((256, 416, 3), np.uint8))
    asked = TuneOptions(source=str(picture), budget_s=SHORT)
    document = tune(detector, LoadOptions(variants=(int8,)), asked).document
    assert document["best"]["precision"] == "fp32"
    assert "finds nothing" in document["notes"][0]


def blinded(detector: Path) -> Path:
    """A variant whose scores are all zero: the planted fault."""
    import onnx

    model = onnx.load(str(detector))
    spec = json.loads(model.metadata_props[0].value)
    spec.update(precision="int8", source_sha256=open_model_file(detector).sha256)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [name + "_seen" if name == output.name else name for name in node.output]
        node.input[:] = [name + "_seen" if name == output.name else name for name in node.input]
    channels = output.type.tensor_type.shape.dim[1].dim_value
    mask = np.zeros((1, channels, 1), np.float32)
    mask[:, :4] = 1
    model.graph.initializer.append(onnx.numpy_helper.from_array(mask, "mask"))
    model.graph.node.append(
        onnx.helper.make_node("Mul", [output.name + "_seen", "mask"], [output.name])
    )
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "edgeinfer.spec", json.dumps(spec)
    path = detector.parent / "blind.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("how", ["source", "validation"])
def test_a_variant_that_is_blind_is_thrown_out(detector: Path, how: str) -> None:
    path = blinded(detector)
    given = {"source": str(DATA / "conveyor.mp4"), "validation": str(DATA / "validation")}
    asked = TuneOptions(budget_s=SHORT, **{how: given[how]})
    document = tune(detector, asked=asked).document
    (lower,) = [item for item in document["candidates"] if item["path"] == str(path)]
    assert ("map50" if how == "validation" else "0% of the same answers") in lower["rejected"]
    assert document["best"]["precision"] == "fp32"


@pytest.mark.slow
def test_labelled_data_judge_a_lower_precision(detector: Path, int8: Path) -> None:
    asked = TuneOptions(budget_s=SHORT, validation=str(DATA / "validation"), max_drop=0.05)
    document = tune(detector, LoadOptions(variants=(int8,)), asked).document
    metric = by_precision(document, "int8")[0]["parity"]["metric"]
    assert metric["before"]["metric"] == "map50_95"
    assert metric["after"]["value"] > metric["before"]["value"] - 0.05


@pytest.mark.slow
def test_a_metric_of_ones_own_judges_a_lower_precision(
    detector: Path, int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("def metric(model, progress): return {'mine': 0.5}\n")
    monkeypatch.chdir(tmp_path)
    asked = TuneOptions(source=str(DATA / "conveyor.mp4"), budget_s=SHORT, validation="own:metric")
    document = tune(detector, LoadOptions(variants=(int8,)), asked).document
    metric = by_precision(document, "int8")[0]["parity"]["metric"]
    assert (metric["before"]["metric"], metric["after"]["value"]) == ("mine", 0.5)


METRICS = """
def metric(model, progress):
    name, values = {given!r}
    lower = "int8" in str(model.running.path)
    return {{name: values[lower]}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        # One point less is more than 1% of 0.3.
        (("score", (0.30, 0.29)), "its score fell from 0.3000 to 0.2900, by 3.33%"),
        # Of errors there may not be more.
        (("mae", (0.10, 0.20)), "its mae rose from 0.1000 to 0.2000, by 100.00%"),
        (("score", (0.0, 0.0)), "the reference itself reaches score 0.0000"),
    ],
)
def test_what_may_be_lost_is_a_share_of_what_there_was(
    detector: Path,
    int8: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, tuple[float, float]],
    said: str,
) -> None:
    (tmp_path / "own.py").write_text(METRICS.format(given=given))
    monkeypatch.chdir(tmp_path)
    asked = TuneOptions(budget_s=SHORT, validation="own:metric")
    document = tune(detector, LoadOptions(variants=(int8,)), asked).document
    assert by_precision(document, "int8")[0]["rejected"].startswith(said)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["throughput", "efficiency"])
def test_other_objectives_have_their_own_statistic(detector: Path, objective: str) -> None:
    asked = TuneOptions(objective=objective, budget_s=SHORT)
    document = tune(detector, asked=asked).document
    assert document["best"]["fps"] > 0 and document["best"]["cpu_ns"] > 0
    words = {"throughput": "frames per second", "efficiency": "per frame"}
    assert words[objective] in document["statistic"]
    lanes = {item["lanes"] for item in document["candidates"]}
    assert objective == "efficiency" or max(lanes) >= 1
    with open_model(detector, LoadOptions(recording=objective == "throughput")) as model:
        assert model.plan.lanes == document["best"]["lanes"]


def test_what_the_user_says_is_not_up_for_choice(detector: Path) -> None:
    options = LoadOptions(threads=1, spinning=False, preprocess="host", provider="cpu")
    document = tune(detector, options, TuneOptions(budget_s=SHORT)).document
    (only,) = document["candidates"]
    assert (only["threads"], only["spinning"], only["preprocess"]) == (1, False, "host")
    with edgeinfer.load(detector) as model:
        assert (model.plan.source, model.plan.threads) == ("tuned", 1)


def test_models_of_arrays_are_tuned_too(make_model: Any) -> None:
    path = make_model("net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }")
    document = tune(path, asked=TuneOptions(budget_s=SHORT)).document
    assert document["best"]["preprocess"] == "host"
    with edgeinfer.load(path) as model:
        assert model.plan.source == "tuned"


def test_a_model_that_cannot_be_opened_says_so_and_stores_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x01" * 50)
    with pytest.raises(EdgeInferError, match=r"broken\.onnx"):
        tune(broken)
    assert plans(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objective": "latancy"}, "Did you mean 'latency'"),
        ({"budget_s": 0}, "budget is 0"),
        ({"fps": -1}, "fps is -1"),
        ({"max_drop": 2}, "1% is 0.01"),
    ],
)
def test_wrong_options_are_usage_errors(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TuneOptions(**given)


def test_a_child_that_dies_hangs_or_refuses_says_why() -> None:
    missing = {
        "do": "open",
        "path": "/nowhere.onnx",
        "cache": None,
        "options": {"input_shapes": {}, "classes": [], "spec": None, "labels": None},
    }
    remote = Remote(Child("edgeinfer.tune.worker"))
    try:
        with pytest.raises(WorkerFailed, match="does not exist"):
            remote.ask(missing, 60)
        with pytest.raises(WorkerFailed, match="longer than 0 s"):
            remote.hear(0.01)
        # Longer than any clock of the system holds: the answer comes all the same.
        with pytest.raises(WorkerFailed, match="does not exist"):
            remote.ask(missing, 1e12)
        os.kill(remote._child.process.pid, signal.SIGKILL)
        with pytest.raises(WorkerFailed, match="SIGKILL"):
            remote.hear(60)
    finally:
        remote.close()
        remote.close()


def test_ctrl_c_stores_nothing_and_leaves_no_child(
    detector: Path, tmp_path: Path, family: Any
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeinfer", "tune", str(detector), "--budget", "60"],
        env={**os.environ, "EDGEINFER_CACHE": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        alive: set[int] = set()
        while len(alive) < 2 and process.poll() is None:
            alive = family.of(process.pid)
        assert len(alive) >= 2
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted" in told
    assert plans(tmp_path) == []
    assert family.gone(alive)


def test_the_command_prints_a_table_or_the_document(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tune", str(detector), "--budget", str(SHORT), "--threads", "1"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "cost: latency of a frame" in out and "CPU/frame" not in out
    assert "Limits:" in out and "Best for latency" in out and "1 thread" in out
    assert "stored" in err
    assert main([*arguments, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (path,) = plans(tmp_path)
    assert document == json.loads(path.read_text())
    assert main(["inspect", str(detector)]) == 0
    assert "the stored plan is used" in capsys.readouterr().out
    assert main(["inspect", str(detector), "--threads", "2", "--format", "json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["plan"]["notes"]
    assert "threads 2 instead of 1" in note


@pytest.mark.slow
def test_another_objective_leaves_the_plan_of_the_first(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--budget", str(SHORT), "--threads", "1", "--provider", "cpu", "--preprocess", "host"]
    assert main(["tune", str(detector), *few]) == 0
    assert main(["tune", str(detector), *few, "--objective", "throughput"]) == 0
    assert len(plans(tmp_path)) == 2
    err = capsys.readouterr().err
    assert "(tuned for throughput); cpu" in err and "(tuned for latency)" in err
    assert main(["inspect", str(detector), "--plan", "throughput"]) == 0
    assert "tuned for throughput" in capsys.readouterr().out
    assert main(["inspect", str(detector), "--plan", "efficiency"]) == 1
    assert main(["inspect", str(detector), "--plan", "efficiency", "--no-plan"]) == 2


def test_a_plan_that_cannot_be_stored_is_a_failure(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert main(["tune", str(detector), "--budget", str(SHORT), "--threads", "1"]) == 1
    out, err = capsys.readouterr()
    assert "Best for latency" in out
    assert "not stored" in err and str(tmp_path / "cache") in err and "Not a directory" in err


def test_what_is_not_finite_is_no_measure(make_model: Any, tmp_path: Path) -> None:
    path = make_model("net (float[1, 4] x) => (float[1, 4] y) { z = Neg(x) y = Log(z) }")
    with pytest.raises(EdgeInferError, match="not finite"):
        tune(path, asked=TuneOptions(budget_s=SHORT))
    assert plans(tmp_path) == []


def test_open_dimensions_that_do_not_run_are_asked_for(make_model: Any) -> None:
    path = make_model(
        "net (float[1, N] x) => (float[1, M] y)\n"
        "<int64[2] shape = {-1, 5}> { y = Reshape(x, shape) }"
    )
    with pytest.raises(EdgeInferError, match="--input-shape x:1x"):
        tune(path, asked=TuneOptions(budget_s=SHORT))
    document = tune(
        path, LoadOptions(input_shapes={"x": (1, 5)}), TuneOptions(budget_s=SHORT)
    ).document
    assert document["best"]["frames"] > 0


@pytest.mark.slow
def test_the_default_is_measured_to_the_end(detector: Path) -> None:
    document = tune(detector, LoadOptions(provider="cpu"), TuneOptions(budget_s=SHORT)).document
    default = document["candidates"][0]
    assert default["frames"] > 0
    assert document["speedup"] is not None
    if default["rejected"] is not None:
        assert "times the cost of the best" in default["rejected"]


def test_the_command_refuses_what_it_cannot_read(
    detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(detector), "nowhere.mp4"]) == 1
    data = ["--validation", str(DATA / "validation")]
    assert main(["tune", str(detector), *data, "--max-drop", "little"]) == 2
    assert "'little'" in capsys.readouterr().err
    assert main(["tune", str(detector), "--max-drop", "1%"]) == 2
    assert "--validation" in capsys.readouterr().err
    assert main(["tune", str(detector), "--provider", "cpuu"]) == 2
    assert "Did you mean 'cpu'" in capsys.readouterr().err


@pytest.mark.usefixtures("hurried")
def test_what_a_small_budget_has_no_time_for_is_told(detector: Path, int8: Path) -> None:
    options = LoadOptions(variants=(int8,), provider="cpu")
    document = tune(detector, options, TuneOptions(budget_s=1)).document
    assert document["best"]["frames"] > 0
    assert any("not measured: give a larger --budget" in note for note in document["notes"])
    # With all the time of the world both files are opened.
    assert len(document["candidates"]) < 4


@pytest.mark.slow
def test_frames_come_from_every_source_that_is_given(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = sorted((DATA / "validation" / "images").iterdir())[:2]
    few = ["--budget", str(SHORT), "--threads", "1", "--format", "json"]
    given = [str(DATA / "conveyor.mp4"), *map(str, pictures)]
    assert main(["tune", str(detector), *given, *few]) == 0
    parity = json.loads(capsys.readouterr().out)["parity"]
    assert parity["of"] == ", ".join(given)
    assert parity["frames"] == 4 + 1 + 1
    assert main(["tune", str(detector), *given, str(tmp_path / "nowhere.png"), *few]) == 1
    assert "nowhere.png" in capsys.readouterr().err
