"""Find a room, or build it while every other process waits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from edgeinfer import cache
from edgeinfer.child import Child
from edgeinfer.errors import MissingPackageError, UsageError, suggest
from edgeinfer.files import write_text
from edgeinfer_export.toolrooms.interpreters import find_python
from edgeinfer_export.toolrooms.room import Room
from edgeinfer_export.toolrooms.table import ROOMS, RoomSpec

Say = Callable[[str], None]

_READY = "ready.json"
_BUILD_S = 3600.0
_SAY_EVERY_S = 10.0
_POLL_S = 0.5
# A finished room that nobody opened for so long gives its disk space back.
_UNUSED_S = 90 * 24 * 3600
# What pip prints that says how far it is.
_TELLING = ("Downloading ", "Installing collected packages")


def open_room(
    name: str, say: Say = lambda text: None, spec: RoomSpec | None = None, own: bool = True
) -> Room:
    """The room of that name, built if it is not there yet.

    Args:
        name: one of `ROOMS`.
        say: told what takes long.
        spec: a room that is not in the table.
        own: whether this process's own environment will do where it holds what the room would.

    Raises:
        UsageError: if there is no such room.
        MissingPackageError: if it cannot be built: no fitting Python, no network, no disk space.
    """
    if spec is None and name not in ROOMS:
        raise UsageError(f"There is no tool room '{name}'. {suggest(name, ROOMS)}")
    spec = spec or ROOMS[name]
    if own and _own_fits(spec):
        return Room(name, spec.holds, Path(sys.executable))
    home = cache.root() / "toolrooms"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / f"{name}.lock", name, say):
            return _find(home, name, spec) or _build(home, name, spec, say)
    except OSError as error:
        raise MissingPackageError(
            f"The environment '{name}' ({spec.holds}) cannot be built in {home}: "
            f"{error.strerror or error}. Make room there, or name another cache folder with "
            f"EDGEINFER_CACHE."
        ) from error


def _own_fits(spec: RoomSpec) -> bool:
    """Whether every package that counts is installed here in the locked release."""
    locked = dict(_pins(spec.lock))
    for package in spec.own:
        here = _installed(package) or _installed(f"{package}-cpu")
        if here.split(".")[:2] != locked.get(_plain(package), "").split(".")[:2]:
            return False
    return bool(spec.own)


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _pins(lock: Path) -> Iterator[tuple[str, str]]:
    """The names and versions of a lock list."""
    for line in lock.read_text().splitlines():
        name, equals, version = line.partition("#")[0].partition(";")[0].partition("==")
        if equals:
            yield _plain(name), version.strip()


def _plain(name: str) -> str:
    # tensorflow-cpu is tensorflow without what needs a GPU.
    return name.strip().lower().replace("_", "-").removesuffix("-cpu")


@contextlib.contextmanager
def _locked(path: Path, name: str, say: Say) -> Iterator[None]:
    """Hold a room's lock; waiting for another builder is told."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    told = 0.0
    while True:
        try:
            lock.acquire(timeout=_POLL_S)
            break
        except Timeout:
            if time.monotonic() - told > _SAY_EVERY_S:
                say(f"waiting for another process that builds the environment '{name}'")
                told = time.monotonic()
    try:
        yield
    finally:
        lock.release()


def _stem(name: str, spec: RoomSpec) -> str:
    """Name and content of a room: another lock list is another room."""
    return f"{name}-{cache.key_of(spec.lock.read_text(), *spec.pythons)[:12]}"


def _find(home: Path, name: str, spec: RoomSpec) -> Room | None:
    """A finished room whose interpreter is still there; what is left of killed builds goes.

    The caller holds the lock: a folder without the marker has no builder any more.
    """
    found = None
    for folder in home.glob(f"{name}-*-*"):
        ready = folder / _READY
        python = _python_of(folder)
        usable = ready.exists() and python.exists()
        if usable and folder.name.startswith(_stem(name, spec)) and found is None:
            found = Room(name, spec.holds, python)
            os.utime(ready)
        elif not usable or time.time() - ready.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _build(home: Path, name: str, spec: RoomSpec, say: Say) -> Room:
    """Make the environment where it stays (it knows its own path); the marker comes last."""
    base = find_python(spec.pythons, spec.holds)
    free = shutil.disk_usage(home).free
    if free < 2 * spec.size_mb << 20:  # while it is built, the downloads are there, too
        raise MissingPackageError(
            f"The environment '{name}' ({spec.holds}) takes about {spec.size_mb} MB, twice that "
            f"while it is built, and {home} has {free >> 20} MB left. Make room there, or name "
            f"another cache folder with EDGEINFER_CACHE."
        )
    folder = home / f"{_stem(name, spec)}-{os.urandom(4).hex()}"
    say(
        f"building an environment of its own for {spec.holds}: about {spec.size_mb} MB in "
        f"{folder}, once; yours stays as it is"
    )
    try:
        _step(name, spec, base, "venv", ["--clear", str(folder)], say)
        python = _python_of(folder)
        install = ["install", "--no-input", "--disable-pip-version-check", "--no-deps"]
        install += ["--only-binary", ":all:", "--progress-bar", "off", "-r", str(spec.lock)]
        _step(name, spec, python, "pip", install, say)
        write_text(folder / _READY, json.dumps({"holds": spec.holds, "python": str(base)}) + "\n")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    say(f"the environment for {spec.holds} is ready")
    return Room(name, spec.holds, python)


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _step(
    name: str, spec: RoomSpec, python: Path, module: str, args: Sequence[str], say: Say
) -> None:
    """Run one module of an interpreter, telling how far it is.

    Raises:
        MissingPackageError: with the last that it said, if it fails.
    """
    child = Child(module, args, python=python)
    last: deque[str] = deque(maxlen=20)
    listener = threading.Thread(target=_listen, args=(child, last), daemon=True)
    timer = threading.Timer(_BUILD_S, child.kill)
    try:
        listener.start()
        timer.start()
        assert child.process.stdout is not None
        for line in child.process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith(_TELLING):
                say(f"{name}: {text[:120]}")
        code = child.process.wait()
    finally:
        timer.cancel()
        child.close()
    listener.join(timeout=1)
    if code == 0:
        return
    said = next((line for line in reversed(last) if line.startswith("ERROR")), "")
    said = said or (last[-1] if last else f"it ended with code {code} and no word")
    raise MissingPackageError(
        f"The environment '{name}' ({spec.holds}) cannot be built, `python -m {module}` failed: "
        f"{said[:300]}. It is installed from the package index that pip is set up for: check the "
        f"network (and PIP_INDEX_URL, if you use one), then run the command again. What was there "
        f"before stays as it was."
    )


def _listen(child: Child, last: deque[str]) -> None:
    """Take away what a child prints on stderr: a full pipe would stop it."""
    assert child.process.stderr is not None
    with contextlib.suppress(ValueError):  # closed meanwhile
        for line in child.process.stderr:
            last.append(line.decode(errors="replace").strip())
