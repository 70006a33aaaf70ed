"""The benchmark of the exporter measures what it says, on the models of a user."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.export import __main__ as command
from edgeinfer_bench.goals.export import beside_nncf, speed
from edgeinfer_bench.goals.export.accuracy import _loss
from edgeinfer_bench.goals.export.exported import demo_data

pytestmark = pytest.mark.slow


def context(folder: Path) -> Context:
    return Context(folder, 0.01, lambda text: None)


def test_its_parts_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"], command.PARTS, "edgeinfer_bench.goals.export")
    assert "{speed,accuracy,nncf}" in capsys.readouterr().out.replace("\n", "")


def test_without_nncf_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = context(tmp_path)
    assert beside_nncf.beside_nncf(here) == []
    assert "make nncf" in here.notes[0]


@pytest.mark.slow
def test_the_loss_of_the_detector_that_ships_is_measured(tmp_path: Path) -> None:
    data = demo_data()
    options = ["--calibration", str(data / "calibration")]
    options += ["--validation", str(data / "validation")]
    goal = _loss(context(tmp_path), "digits", data / "digits.onnx", options)
    assert goal.kept
    assert goal.unit == "%"
    assert goal.data["gate"]["before"] > 0.8
    assert goal.data["precision"] == "int8"


def test_a_command_that_keeps_silent_where_it_does_not_pay_is_found_out() -> None:
    from edgeinfer.measure import ratio

    slow, fast = ratio([140] * 9, [100] * 9), ratio([100] * 9, [200] * 9)
    note = ["int8 is not faster on this box: ... Recommended: use the FP32 file"]
    for notes, found, right in (([], slow, 0), (note, slow, 1), ([], fast, 1), (note, fast, 0)):
        (goal,) = speed._told("m", 1, "int8", list(notes), found)
        assert (goal.value, goal.kept) == (right, bool(right))
    assert speed._told("m", 1, "int8", [], ratio([100] * 9, [100] * 9)) == []
