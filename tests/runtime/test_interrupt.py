"""Ctrl-C ends every command, whatever it is doing, and says so."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

import edgeinfer

pytestmark = pytest.mark.slow

DATA = Path(edgeinfer.__file__).parent / "cli" / "demo_data"
COMMANDS = {
    "run": ["run", str(DATA / "digits.onnx"), str(DATA / "conveyor.mp4")],
    "warm": ["warm", str(DATA / "digits.onnx")],
    "tune": ["tune", str(DATA / "digits.onnx"), "--budget", "2"],
    "bench": ["bench", str(DATA / "digits.onnx"), "--frames", "60", "--replicates", "1"],
    "doctor": ["doctor"],
    "providers": ["providers"],
    "inspect": ["inspect", str(DATA / "digits.onnx")],
}
DONE = (0, 4)  # `doctor` may have findings, and `bench` a busy box
TIMES = 4


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process handles a signal by now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


@pytest.mark.parametrize("command", list(COMMANDS))
def test_ctrl_c_at_any_moment_of_the_first_second_is_heard(
    command: str, tmp_path: Path, family: Any
) -> None:
    for number in range(TIMES):
        pause = (number + random.random()) / TIMES
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeinfer", *COMMANDS[command]],
            env={**os.environ, "EDGEINFER_CACHE": str(tmp_path / str(number))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Before its first line of ours the interpreter starts: that is not ours to mend.
        while not catches(process.pid, signal.SIGTERM) and process.poll() is None:
            pass
        time.sleep(pause)
        alive = family.of(process.pid)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode in (130, *DONE), f"after {pause:.3f} s: {told}"
        assert "Traceback" not in told and "ignored" not in told, f"after {pause:.3f} s: {told}"
        assert ("interrupted" in told) == (process.returncode == 130)
        assert family.gone(alive)


def begun(report: Path, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """A benchmark whose progress bar, on a terminal, shows that a share of it is done."""
    ours, theirs = pty.openpty()
    # Eighty columns, so that the bar has room for its numbers.
    size = struct.pack("HHHH", 24, 80, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeinfer", "bench", str(DATA / "digits.onnx")]
        + [str(DATA / "conveyor.mp4"), "--warmup", "3", "--duration", "60"]
        + ["--report", str(report), *options],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while not re.search(rb"[1-9]\d*/100", shown):
        assert select.select([ours], [], [], 60)[0], shown
        shown += os.read(ours, 4096)
    return process, ours


def rest_of(terminal: int) -> str:
    """What still comes, until nobody writes any more."""
    told = b""
    # Linux ends a terminal that nobody writes to with an error (EIO).
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 4096):
            told += more
    os.close(terminal)
    return told.decode()


@pytest.mark.parametrize("company", [(), ("--against", str(DATA / "digits.onnx"))])
def test_ctrl_c_in_the_middle_of_a_benchmark_writes_what_was_measured(
    company: tuple[str, ...], tmp_path: Path, family: Any
) -> None:
    path = tmp_path / "report.json"
    process, terminal = begun(path, "--replicates", "1", *company)
    children = family.of(process.pid)
    assert len(children) > len(company) // 2
    process.send_signal(signal.SIGINT)
    told = rest_of(terminal)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told and f"wrote {path}" in " ".join(told.split())
    assert "Traceback" not in told and printed == b""
    assert family.gone(children)
    report = json.loads(path.read_text())
    assert report["validity"]["verdict"] == "INVALID"
    assert any("interrupted" in reason for reason in report["validity"]["reasons"])
    assert len(report["results"]) == 1 + len(company) // 2
    for result in report["results"]:
        (one,) = result["replicates"]
        assert len(one["samples_ns"]["latency"]) == result["frames"] > 0


LOST = """
import os, signal, sys, time, weakref
{install}
class Thing: pass
def send(_=None):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
try:
    {lose}
    time.sleep(5)
except KeyboardInterrupt:
    sys.exit(130)
"""
GREEDY = "try:\n    sys.modules['__main__'].send()\nexcept BaseException:\n    pass\n"


@pytest.mark.parametrize(
    "lose", ["import greedy", "thing = Thing(); ref = weakref.ref(thing, send); del thing"]
)
@pytest.mark.parametrize("ours", [True, False])
def test_ctrl_c_that_python_would_lose_is_heard(lose: str, ours: bool, tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text("import sys\n" + GREEDY)
    install = "from edgeinfer.cli.start import install; install()" if ours else ""
    path = tmp_path / "main.py"
    path.write_text(LOST.format(install=install, lose=lose).replace("sleep(5)", "sleep(0.5)"))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, check=False)
    assert done.returncode == (130 if ours else 0)


def test_ctrl_c_is_heard_though_a_library_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text(
        "import hashlib, os, signal, threading\n"
        "from edgeinfer.cli.start import install\n"
        "install()\n"
        "threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2_000_000_000)\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "interrupted" in done.stderr


def test_ctrl_c_inside_a_text_that_is_executed_ends_with_the_same_exit_code(tmp_path: Path) -> None:
    main = "import os, signal, edgeinfer.cli.main\nfrom edgeinfer.cli import start\n"
    main += "send = lambda: (os.kill(os.getpid(), signal.SIGINT), [None] * 100)\n"
    main += "edgeinfer.cli.main.main = lambda: exec('for _ in range(9): send()')\nstart.entry()\n"
    (tmp_path / "main.py").write_text(main)
    command = [sys.executable, "-m", "main"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "interrupted" in done.stderr


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 0)])
def test_a_second_signal_right_after_the_first_breaks_nothing_off(
    number: str, code: int, tmp_path: Path
) -> None:
    main = "import os, signal, time, edgeinfer.cli.main\nfrom edgeinfer.cli import start\n"
    main += f"send = lambda: (os.kill(os.getpid(), signal.{number}), time.sleep(0.01))\n"
    main += "def work():\n    try:\n        send()\n    finally:\n"
    main += "        send(); print('closed'); start._told_s -= 2; start._pending = None\n"
    main += "edgeinfer.cli.main.main = work\nstart.entry()\n"
    (tmp_path / "main.py").write_text(main)
    command = [sys.executable, "-m", "main"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "closed\n"), done.stderr


def test_a_thread_left_inside_onnxruntime_makes_no_end_abort(tmp_path: Path) -> None:
    main = "import threading, edgeinfer, edgeinfer.cli.main\nfrom edgeinfer.cli import start\n"
    main += "import atexit, time, numpy as np\n"
    main += "def interrupted():\n"
    main += f"    model = edgeinfer.load({str(DATA / 'digits.onnx')!r})\n"
    main += "    frame = np.zeros((480, 640, 3), np.uint8)\n"
    main += "    work = lambda: [model(frame) for _ in range(100_000)]\n"
    main += "    threading.Thread(target=work, daemon=True).start(); time.sleep(0.2)\n"
    main += "    atexit.register(print, 'undone')\n"
    main += "    raise KeyboardInterrupt\n"
    main += "edgeinfer.cli.main.main = interrupted\nstart.entry()\n"
    (tmp_path / "main.py").write_text(main)
    command = [sys.executable, "-m", "main"]
    for _ in range(3):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (130, "undone\n"), done.stderr
