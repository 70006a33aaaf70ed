"""The cache of compiled artefacts under many processes and under kill -9.

The whole measure (16 processes, 200 rounds, 1,000 kills) is `tests/stress/compiled_stress.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

STRESS = Path(__file__).parents[1] / "stress"


@pytest.fixture
def stress(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(STRESS))
    import compiled_stress

    return compiled_stress


def test_of_many_processes_exactly_one_builds_and_all_get_the_artefact(
    stress: Any, tmp_path: Path
) -> None:
    assert stress.race(tmp_path, processes=8, rounds=20) == []


def test_a_kill_at_any_moment_leaves_whole_artefacts_and_nothing_else(
    stress: Any, tmp_path: Path
) -> None:
    assert stress.kill(tmp_path, kills=40) == []


def test_a_round_without_its_one_build_would_be_noticed(stress: Any, tmp_path: Path) -> None:
    """The check itself can fail: a cache without a place for its locks builds nothing."""
    locks = tmp_path / "1" / "compiled" / "locks"
    locks.parent.mkdir(parents=True)
    locks.touch()
    faults = stress.race(tmp_path, processes=2, rounds=2)
    assert [fault.partition(",")[0] for fault in faults] == [
        "round 0: 0 builds",
        "round 1: 0 builds",
    ]


def test_an_artefact_that_is_torn_would_be_noticed(
    stress: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check itself can fail: a cache that verifies nothing is caught."""
    from edgeinfer.compiled import contents

    monkeypatch.setattr(contents, "is_undamaged", lambda folder, key: True)
    assert any("torn" in fault or "could not" in fault for fault in stress.kill(tmp_path, 20))
