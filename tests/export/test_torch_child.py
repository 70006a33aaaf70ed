"""The child that holds torch, seen from a terminal: interrupted, killed, and what stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Start an export of a program whose `torch`, in the child, does this."""

    def run(code: str) -> subprocess.Popen[str]:
        planted, temporary = tmp_path / "planted", tmp_path / "temporary"
        planted.mkdir()
        temporary.mkdir()
        (planted / "torch.py").write_text(code)
        with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
            archive.writestr("net/archive_format", "pt2")
            archive.writestr("net/models/model.json", json.dumps({}))
        (tmp_path / "out.onnx").write_text("older")
        return subprocess.Popen(
            [sys.executable, "-m", "edgeinfer", "export", "net.pt2", "-o", "out.onnx"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(planted), "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


HANGS = """
import os, time
open({told!r}, "w").write(str(os.getpid()))
time.sleep(600)
"""


def wait_for(path: Path) -> int:
    for _ in range(600):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError("the child never came so far")


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting a little for it."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_an_interrupt_ends_the_child_and_leaves_nothing(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    parent = start(HANGS.format(told=str(tmp_path / "told")))
    child = wait_for(tmp_path / "told")
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "Traceback" not in said
    assert gone(child)
    assert (tmp_path / "out.onnx").read_text() == "older"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_killed_parent_takes_its_child_with_it(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    parent = start(HANGS.format(told=str(tmp_path / "told")))
    child = wait_for(tmp_path / "told")
    parent.kill()
    parent.communicate(timeout=60)
    assert gone(child)
    assert (tmp_path / "out.onnx").read_text() == "older"


def test_without_torch_the_command_says_what_to_install(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    parent = start("raise ModuleNotFoundError(\"No module named 'torch'\")")
    _, said = parent.communicate(timeout=120)
    assert parent.returncode == 1
    assert "pip install 'edgeinfer[torch]'" in said
    assert len(said.strip().splitlines()) == 1
    assert (tmp_path / "out.onnx").read_text() == "older"
