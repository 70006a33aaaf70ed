from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgeinfer.errors import EdgeInferError
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.goals import __main__ as command
from edgeinfer_bench.goals.context import Context, fresh
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.memory import _family, _pss_bytes
from edgeinfer_bench.goals.report import write_goals

KEPT = Goal("quick enough", 1.0, 1.2, "ms", detail={"base": "3 ms"})
MISSED = Goal("frames enough", 90.0, 95.0, "%", at_least=True)


def test_a_goal_is_kept_at_its_bound_and_missed_beyond() -> None:
    assert Goal("x", 1.2, 1.2, "ms").kept and not Goal("x", 1.21, 1.2, "ms").kept
    assert Goal("x", 95, 95, "%", at_least=True).kept
    assert MISSED.text().startswith("MISSED") and ">= 95.00 %" in MISSED.text()


def test_the_report_holds_figures_bounds_verdicts_and_what_is_behind(tmp_path: Path) -> None:
    path = tmp_path / "goals.md"
    write_goals([KEPT, MISSED], BoxState(), BoxState(), "python -m x", path)
    text = path.read_text()
    assert "1 of 2 goals are missed" in text
    assert "| quick enough | 1.00 ms | ≤ 1.20 ms | kept |" in text
    assert "- base: 3 ms" in text and "python -m x" in text
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["schema"] == "edgeinfer.goals/1"
    assert [goal["kept"] for goal in data["goals"]] == [True, False]


@pytest.mark.parametrize(("goals", "code"), [([KEPT], 0), ([KEPT, MISSED], 4)])
def test_a_missed_goal_gives_exit_code_four_and_the_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goals: list[Goal], code: int
) -> None:
    monkeypatch.setattr(command, "PARTS", {"cost": lambda context: goals})
    report = tmp_path / "goals.md"
    arguments = ["--report", str(report), "--work", str(tmp_path / "work"), "--only", "cost"]
    assert command.main(arguments) == code
    assert report.exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PARTS", {"cost": lambda context: pytest.fail("it ran")})
    assert command.main(["--report", str(tmp_path / "no" / "goals.md"), "--only", "cost"]) == 1
    assert "mkdir" in capsys.readouterr().err


def test_effort_scales_the_rounds_and_keeps_a_least_number(tmp_path: Path) -> None:
    context = Context(tmp_path, 0.1, print)
    assert (context.rounds(100), context.rounds(10)) == (10, 3)


def test_a_fresh_process_finds_the_packages_and_its_failure_is_told(tmp_path: Path) -> None:
    assert fresh(["-c", "import edgeinfer_bench; print(5)"], tmp_path).strip() == "5"
    with pytest.raises(EdgeInferError, match="ZeroDivisionError"):
        fresh(["-c", "1 / 0"], tmp_path)


def test_the_memory_of_this_process_can_be_read() -> None:
    assert _family(os.getpid())[0] == os.getpid()
    assert _pss_bytes(os.getpid()) > 1 << 20
    assert _pss_bytes(1 << 30) == 0
