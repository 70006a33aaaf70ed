"""Environments of their own: built once, found again, never half there; scripts that run in them.

The rooms here are tiny: a wheel made on the spot, from a folder instead of an index.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeinfer import cache
from edgeinfer.child import Child
from edgeinfer.errors import MissingPackageError, ModelFileError, UsageError
from edgeinfer_export.toolrooms import ROOMS, Room, RoomSpec, interpreters, open_room

pytestmark = pytest.mark.slow

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def wheel(folder: Path, name: str, version: str, code: str) -> None:
    """A wheel with one module."""
    info = f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", code)
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RoomSpec:
    """A room with one package, `oldframework`, that is nowhere else; no network."""
    wheel(tmp_path / "wheels", "oldframework", "1.2", "VALUE = 42\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    lock = tmp_path / "lock.txt"
    lock.write_text("# oldframework\noldframework==1.2\n")
    return RoomSpec("the old framework", lock, (HERE,), 1)


@pytest.fixture
def home(tmp_path: Path) -> Any:
    """An empty cache for this test."""
    before = cache._root
    cache.set_root(tmp_path / "cache")
    yield tmp_path / "cache" / "1" / "toolrooms"
    cache.set_root(before)


def script(folder: Path, body: str, name: str = "job.py") -> str:
    path = folder / name
    path.write_text(f"import roomkit\n{body}\nif __name__ == '__main__':\n    roomkit.serve(job)\n")
    return str(path)


def here() -> Room:
    """This interpreter as a room: the conversation is the same."""
    return Room("here", "the framework here", Path(sys.executable))


def rooms(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir() if path.is_dir())


def test_a_room_is_built_once_and_found_again(spec: RoomSpec, home: Path, tmp_path: Path) -> None:
    told: list[str] = []
    room = open_room("tiny", told.append, spec)
    job = script(
        tmp_path,
        "def job(request, say):\n"
        "    import oldframework, importlib.util\n"
        "    say('reading')\n"
        "    inside = importlib.util.find_spec('edgeinfer') is not None\n"
        "    return {'value': oldframework.VALUE + request['plus'], 'inside': inside}, None\n",
    )
    heard: list[str] = []
    assert room.run(job, {"plus": 1}, heard.append) == {"value": 43, "inside": False}
    assert heard == ["reading"]
    assert "1 MB" in told[0] and str(home) in told[0] and "yours stays" in told[0]
    again: list[str] = []
    assert open_room("tiny", again.append, spec) == room
    assert again == []
    with pytest.raises(ImportError):
        __import__("oldframework")


@pytest.mark.slow
def test_another_lock_list_is_another_room(spec: RoomSpec, home: Path, tmp_path: Path) -> None:
    first = open_room("tiny", spec=spec)
    wheel(tmp_path / "wheels", "oldframework", "1.3", "VALUE = 43\n")
    spec.lock.write_text("oldframework==1.3\n")
    second = open_room("tiny", spec=spec)
    assert first.python != second.python
    assert len(rooms(home)) == 2
    # One that nobody opened for a season gives its space back.
    ready = first.python.parents[1] / "ready.json"
    os.utime(ready, (time.time() - 100 * 86400,) * 2)
    assert open_room("tiny", spec=spec) == second
    assert rooms(home) == [second.python.parents[1].name]


@pytest.mark.slow
def test_what_a_killed_builder_left_is_collected(spec: RoomSpec, home: Path) -> None:
    room = open_room("tiny", spec=spec)
    folder = room.python.parents[1]
    (folder / "ready.json").unlink()
    (home / "tiny-000000000000-12345678").mkdir()
    (home / "other-000000000000-12345678").mkdir()
    again = open_room("tiny", spec=spec)
    assert again.python != room.python
    assert rooms(home) == sorted(["other-000000000000-12345678", again.python.parents[1].name])


@pytest.mark.slow
def test_a_room_whose_python_is_gone_is_built_anew(spec: RoomSpec, home: Path) -> None:
    room = open_room("tiny", spec=spec)
    room.python.unlink()
    assert open_room("tiny", spec=spec).python.exists()
    assert len(rooms(home)) == 1


@pytest.mark.slow
def test_two_that_want_the_same_room_build_it_once(spec: RoomSpec, home: Path) -> None:
    found: list[Room] = []
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_room("tiny", told.append, spec)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 3
    assert sum("building" in line for line in told) == 1
    assert len(rooms(home)) == 1


@pytest.mark.slow
def test_a_package_that_is_nowhere_is_one_clear_error(spec: RoomSpec, home: Path) -> None:
    spec.lock.write_text("oldframework==9.9\n")
    with pytest.raises(MissingPackageError, match=r"oldframework==9\.9.*check the network"):
        open_room("tiny", spec=spec)
    assert rooms(home) == []


@pytest.mark.slow
def test_ctrl_c_while_building_leaves_nothing(spec: RoomSpec, home: Path) -> None:
    def interrupt(text: str) -> None:
        if text.startswith("tiny:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_room("tiny", interrupt, spec)
    assert rooms(home) == []
    assert open_room("tiny", spec=spec).python.exists()


def test_a_python_that_is_not_there_is_named(home: Path, spec: RoomSpec) -> None:
    with pytest.raises(MissingPackageError, match=r"needs Python 2\.9 or 2\.8.*pyenv install 2\.9"):
        open_room("tiny", spec=RoomSpec("the old framework", spec.lock, ("2.9", "2.8"), 1))
    assert rooms(home) == []


def test_a_shim_that_does_not_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python2.9"
    shim.write_text("#!/bin/sh\necho 'version 2.9 is not active' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(MissingPackageError, match=r"not usable: .*python2\.9 .*is not active"):
        interpreters.find_python(("2.9",), "it")


def test_the_newest_patch_release_comes_first() -> None:
    paths = [Path(f"/x/versions/{v}/bin/python") for v in ("3.9.2", "3.9.18", "3.9.9")]
    assert max(paths, key=interpreters._patch).parts[3] == "3.9.18"


def test_a_disk_that_is_too_small_is_told_before_work_starts(home: Path, spec: RoomSpec) -> None:
    size = 2 * shutil.disk_usage(home.anchor).total >> 20
    with pytest.raises(MissingPackageError, match=r"MB left.*EDGEINFER_CACHE"):
        open_room("tiny", spec=RoomSpec("it", spec.lock, (HERE,), size))


def test_the_own_environment_does_where_it_holds_the_locked_release(
    home: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "lock.txt"
    major, minor = np.__version__.split(".")[:2]
    lock.write_text(f'numpy=={major}.{minor}.99 ; python_version > "3"\n')
    fits = RoomSpec("numpy", lock, ("2.9",), 1, own=("numpy",))
    assert open_room("tiny", spec=fits).python == Path(sys.executable)
    lock.write_text("numpy==0.1.0\n")
    with pytest.raises(MissingPackageError, match=r"needs Python 2\.9"):
        open_room("tiny", spec=fits)


def test_a_room_that_does_not_exist_is_suggested() -> None:
    with pytest.raises(UsageError, match="Did you mean 'tensorflow'"):
        open_room("tensorflov")


@pytest.mark.parametrize("name", ROOMS)
def test_every_lock_list_names_exact_versions(name: str) -> None:
    lines = [line for line in ROOMS[name].lock.read_text().splitlines() if not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.+]*( ; .+)?", line), line
    pins = {line.partition("==")[0].lower().replace("-cpu", "") for line in lines}
    assert {package.lower() for package in ROOMS[name].own} <= pins


DOUBLE = """
def job(request, say):
    print("what frameworks print")
    def run(inputs):
        if inputs["a/b:0"].shape == (3,):
            raise roomkit.Refusal("the model takes two numbers")
        if inputs["a/b:0"].shape == (4,):
            raise ValueError("first line\\nsecond line")
        if inputs["a/b:0"].shape == (5,):
            import os; os.abort()
        return {"y": inputs["a/b:0"] * 2, "z": inputs["file"][None]}
    return {"name": "numpy"}, run
"""


def test_a_reference_runs_again_and_again(tmp_path: Path) -> None:
    reference = here().reference(script(tmp_path, DOUBLE), {}, ("y", "z"), tmp_path)
    assert (reference.name, reference.outputs) == ("numpy", ("y", "z"))
    for value in (1.0, 2.0):
        got = reference.run({"a/b:0": np.full(2, value, np.float32), "file": np.arange(3)})
        assert got["y"].dtype == np.float32 and got["y"].tolist() == [2 * value, 2 * value]
        assert got["z"].tolist() == [[0, 1, 2]]
    assert list(tmp_path.glob("*.npz")) == []
    process = reference._remote._child.process
    del reference
    assert process.returncode is not None


@pytest.mark.parametrize(
    ("size", "message"),
    [(3, "the model takes two numbers"), (4, "ValueError: first line"), (5, "SIGABRT")],
)
def test_inputs_that_do_not_run_are_one_clear_error(
    tmp_path: Path, size: int, message: str
) -> None:
    reference = here().reference(script(tmp_path, DOUBLE), {}, ("y",), tmp_path)
    with pytest.raises(ModelFileError, match=message) as caught:
        reference.run({"a/b:0": np.zeros(size), "file": np.zeros(1)})
    assert "second line" not in str(caught.value)
    assert list(tmp_path.glob("*.npz")) == []
    reference.close()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise roomkit.Refusal('layer 3 is unknown')", "^layer 3 is unknown\\.$"),
        ("raise KeyError('x')", "the framework here cannot read.*KeyError"),
        ("import sys; sys.stderr.write('it is over\\n'); sys.exit(5)", "it is over"),
        ("import time; time.sleep(60)", "longer than 2 s"),
        ("x = bytearray(1 << 46)", "not enough memory"),
    ],
)
def test_a_script_that_cannot_go_on_says_why(tmp_path: Path, body: str, message: str) -> None:
    job = script(tmp_path, f"def job(request, say):\n    {body}\n")
    with pytest.raises(ModelFileError, match=message):
        here().run(job, {}, timeout_s=2)


def test_a_script_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    parent = tmp_path / "parent.py"
    job = script(tmp_path, "def job(request, say):\n    import time; time.sleep(60)\n")
    parent.write_text(
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from edgeinfer_export.toolrooms import Room\n"
        "room = Room('here', 'it', Path(sys.executable))\n"
        f"remote = room._start({job!r})\n"
        "remote.tell({})\n"
        "print(remote._child.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    roots = [str(Path(m.__file__).parents[1]) for m in _packages()]
    child = Child(str(parent), environment={"PYTHONPATH": os.pathsep.join(roots)})
    pid = int(child.read_line(60))
    child.process.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    child.close()


def _packages() -> list[Any]:
    import edgeinfer
    import edgeinfer_export

    return [edgeinfer, edgeinfer_export]


def test_scripts_in_rooms_run_on_old_pythons() -> None:
    """They are parsed as Python 3.6: old frameworks have nothing newer."""
    import ast

    inside = Path(interpreters.__file__).with_name("inside")
    for path in (inside / "roomkit.py", inside / "start.py"):
        ast.parse(path.read_text(), feature_version=(3, 6))
        assert "from __future__ import annotations" not in path.read_text()
