"""Children end with their parent, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.child import Child, collect_leftovers
from edgeinfer.errors import EdgeInferError

# A child of a child of a child ..., the last of which holds on to the interpreter's lock.
NESTED = """
import ctypes, sys, time
from edgeinfer.child import Child
depth = int(sys.argv[1])
child = Child(__file__, [str(depth - 1)]) if depth else None
if child is not None:
    print(child.read_line(60).decode(), flush=True)
    time.sleep(600)
print("ready", flush=True)
ctypes.PyDLL(None).sleep(600)
"""


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    path = tmp_path / "nested.py"
    path.write_text(NESTED)
    return path


def test_nobody_survives_a_parent_that_is_killed(nested: Path, family: Any) -> None:
    process = subprocess.Popen([sys.executable, str(nested), "3"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    alive = family.of(process.pid)
    assert len(alive) == 3
    process.kill()
    process.communicate(timeout=60)
    assert family.gone(alive)


def test_a_program_that_a_child_became_ends_with_the_parent(tmp_path: Path, family: Any) -> None:
    path = tmp_path / "parent.py"
    path.write_text(
        "from edgeinfer.child import Child\n"
        "child = Child('edgeinfer.doctor.become', ['sh', '-c', 'echo ready; sleep 600 & wait'])\n"
        "print(child.read_line(60).decode(), flush=True)\n"
        "input()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, str(path)], **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == b"ready\n"
    while len(alive := family.of(process.pid)) < 2:
        pass
    process.kill()
    process.communicate(timeout=60)
    assert family.gone(alive)


def test_ctrl_c_while_a_child_starts_leaves_none(
    monkeypatch: pytest.MonkeyPatch, family: Any
) -> None:
    started = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Child("http.server", ["0", "--bind", "127.0.0.1"])
    (process,) = started
    assert family.gone([process.pid])
    process.communicate()


def test_a_child_that_nobody_holds_ends(nested: Path, tmp_path: Path, family: Any) -> None:
    path = tmp_path / "parent.py"
    path.write_text(
        "from edgeinfer.child import Child\n"
        f"child = Child({str(nested)!r}, ['0'])\n"
        "pid = child.process.pid\n"
        "child.read_line(60)\n"
        "del child\n"
        "print(pid, flush=True)\n"
        "input()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, str(path)], **pipes) as process:  # type: ignore[call-overload]
        assert family.gone([int(process.stdout.readline())])
        process.kill()


def locked(folder: Path) -> bool:
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def test_folders_of_the_dead_are_collected_and_those_of_the_living_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "edgeinfer-child-left"
    young = tmp_path / "edgeinfer-child-young"
    other = tmp_path / "somebody-elses"
    for folder in (left, young, other):
        folder.mkdir()
        (folder / "file").write_text("x")
    child = Child("http.server", ["0", "--bind", "127.0.0.1"])
    living = Path(child._folder.name)
    while not locked(living):
        pass
    for folder in (left, other, living):
        os.utime(folder, (0, 0))
    collect_leftovers.cache_clear()
    collect_leftovers()
    assert not left.exists() and young.exists() and other.exists() and living.exists()
    child.close()
    assert not living.exists()


@pytest.mark.parametrize(("theirs", "bound"), [(1 << 33, 1 << 33), (1 << 35, 1 << 34)])
def test_a_lower_limit_of_the_box_holds_in_children_too(
    theirs: int, bound: int, tmp_path: Path
) -> None:
    path = tmp_path / "limits.py"
    path.write_text("import resource; print(resource.getrlimit(resource.RLIMIT_AS))")
    parent = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({theirs}, {theirs}))\n"
        f"from edgeinfer.child import Child\n"
        f"print(Child({str(path)!r}, memory_bytes={1 << 34}).wait(60).stdout.decode())"
    )
    told = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True)
    assert told.stdout.split() == [f"({bound},", f"{bound})"]


def test_a_box_without_room_for_temporary_files_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(EdgeInferError, match="missing.* TMPDIR"):
        Child("this")


def test_a_box_that_allows_no_more_files_says_what_to_do(tmp_path: Path) -> None:
    code = (
        "import os, resource, tempfile\n"
        "from edgeinfer.child import Child\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "free = os.open('/dev/null', os.O_RDONLY)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (free + 5, free + 5))\n"
        "Child('this')\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "No child process can be started" in told.stderr
    assert "ulimit -n" in told.stderr
    assert not list(tmp_path.iterdir())


def test_children_start_in_a_process_of_many_open_files() -> None:
    """select(2) knows no descriptor beyond 1023."""
    code = (
        "import os, resource\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))\n"
        "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(1024)]\n"
        "from edgeinfer.child import Child\n"
        "from edgeinfer.remote import Remote\n"
        "def child():\n"
        "    return Child('edgeinfer.doctor.become', ['echo', '{}'])\n"
        "print(child().read_line(60), child().wait(60).stdout, Remote(child()).hear(60))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == f"{b'{}'!r} {b'{}' + os.linesep.encode()!r} {{}}\n", told.stderr


@pytest.mark.parametrize("way", ["wait", "close"])
def test_what_a_child_started_ends_with_it(way: str, family: Any) -> None:
    """It holds the pipes of the child, so that waiting for their end would last as long."""
    child = Child("edgeinfer.doctor.become", ["sh", "-c", "sleep 600 & echo $!; wait"])
    left = int(child.read_line(60))
    began = time.monotonic()
    if way == "wait":
        assert child.wait(0.1).returncode is None
    else:
        child.close()
    assert family.gone([left])
    assert time.monotonic() - began < 30


def test_a_folder_that_somebody_still_fills_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that a framework left behind in a group of its own, say."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    child = Child("edgeinfer.doctor.become", ["echo", "answer"])
    cleanup = child._folder.cleanup

    def refuse() -> None:
        cleanup()
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    monkeypatch.setattr(child._folder, "cleanup", refuse)
    assert child.wait(60).stdout == b"answer\n"
