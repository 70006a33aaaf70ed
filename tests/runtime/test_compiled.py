"""Compiled artefacts: found by everything they depend on, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeinfer import cache, compiled
from edgeinfer.child import Child
from edgeinfer.compiled import contents, shelf

KEY = {"model": "abc", "options": "", "runtime": "onnxruntime 1.31.1", "device": "cpu"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path) -> Iterator[Path]:
    """A cache of its own for each test."""
    cache.set_root(tmp_path / "cache")
    yield tmp_path / "cache"
    cache.set_root(None)
    compiled.set_bound(None)
    for folder in compiled.held():
        shelf.let_go(folder)


def writing(data: bytes) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "engine.bin").write_bytes(data)

    return build


def never(folder: Path) -> None:
    raise AssertionError("nothing should have been built")


def everything_but_artefacts() -> list[str]:
    home = shelf.home()
    inner = [p for part in ("building", "locks", "trash") for p in (home / part).iterdir()]
    return [str(path.relative_to(home)) for path in inner]


def release() -> None:
    """As if the process that used the artefacts had ended."""
    for folder in compiled.held():
        shelf.let_go(folder)


class TestFinding:
    def test_what_was_built_once_is_found_and_never_built_again(self) -> None:
        assert compiled.find("engine", KEY) is None
        folder = compiled.obtain("engine", KEY, writing(b"engine"))
        assert folder is not None and (folder / "engine.bin").read_bytes() == b"engine"
        assert compiled.find("engine", KEY) == folder
        assert compiled.obtain("engine", KEY, never) == folder
        assert everything_but_artefacts() == []

    @pytest.mark.parametrize("part", sorted(KEY))
    def test_every_part_of_the_key_in_turn_makes_it_another_artefact(self, part: str) -> None:
        folder = compiled.obtain("engine", KEY, writing(b"engine"))
        assert compiled.find("engine", {**KEY, part: KEY[part] + "2"}) is None
        assert compiled.find("engine", {k: v for k, v in KEY.items() if k != part}) is None
        assert compiled.find("engine", {**KEY, "more": ""}) is None
        assert compiled.find("blob", KEY) is None
        assert compiled.find("engine", dict(reversed(KEY.items()))) == folder

    def test_names_and_values_of_the_key_cannot_run_into_each_other(self) -> None:
        compiled.obtain("engine", {"a": "b", "c": "d"}, writing(b"engine"))
        for other in ({"a": "bc", "": "d"}, {"a": "b,c", "d": ""}, {"a": "c", "b": "d"}):
            assert compiled.find("engine", other) is None

    def test_the_key_lies_beside_the_files_for_people_to_read(self) -> None:
        folder = compiled.obtain("engine", KEY, writing(b"engine"))
        assert folder is not None
        manifest = json.loads((folder / "edgeinfer.artefact.json").read_text())
        assert manifest["key"] == KEY and manifest["files"]["engine.bin"]["size"] == 6

    def test_a_kind_is_a_plain_name(self) -> None:
        with pytest.raises(ValueError, match=r"\.\./engine"):
            compiled.obtain("../engine", KEY, never)


class TestDamage:
    def damage(self, folder: Path, how: str) -> None:
        engine, manifest = folder / "engine.bin", folder / "edgeinfer.artefact.json"
        if how == "cut off":
            engine.write_bytes(b"eng")
        elif how == "another byte":
            engine.write_bytes(b"Engine")
            os.utime(engine, ns=(1, 1))
        elif how == "missing":
            engine.unlink()
        elif how == "no manifest":
            manifest.unlink()
        elif how == "manifest is junk":
            manifest.write_bytes(b"\x00\xff")
        elif how == "manifest is a number":
            manifest.write_text("3")
        elif how == "manifest without a time":
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"built_ns": None}))
        elif how == "manifest of an impossible file":
            files = {"a\0b": {"size": 1, "sha256": ""}}
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": files}))
        elif how == "manifest of an endless file":
            files = {"engine.bin": {"size": float("inf"), "sha256": ""}}
            manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": files}))
        elif how == "manifest of another key":
            manifest.write_text(manifest.read_text().replace("abc", "abd"))
        elif how == "a file instead":
            for item in (engine, manifest):
                item.unlink()
            folder.rmdir()
            folder.write_bytes(b"")

    @pytest.mark.parametrize(
        "how",
        [
            "cut off",
            "another byte",
            "missing",
            "no manifest",
            "manifest is junk",
            "manifest is a number",
            "manifest without a time",
            "manifest of an impossible file",
            "manifest of an endless file",
            "manifest of another key",
            "a file instead",
        ],
    )
    def test_a_damaged_artefact_is_built_again(self, how: str) -> None:
        folder = compiled.obtain("engine", KEY, writing(b"engine"))
        assert folder is not None
        self.damage(folder, how)
        assert compiled.find("engine", KEY) is None
        assert compiled.obtain("engine", KEY, writing(b"engine")) == folder
        assert (folder / "engine.bin").read_bytes() == b"engine"
        assert everything_but_artefacts() == []

    def test_what_was_hashed_once_is_not_hashed_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = compiled.obtain("engine", KEY, writing(b"engine"))

        def unneeded(path: Path) -> str:
            raise AssertionError(f"{path} is hashed again")

        monkeypatch.setattr(contents, "_sha256", unneeded)
        assert compiled.find("engine", KEY) == folder

    def test_without_notes_it_is_hashed_and_found_all_the_same(self, root: Path) -> None:
        folder = compiled.obtain("engine", KEY, writing(b"engine"))
        for note in root.rglob("verified/*.json"):
            note.unlink()
        assert compiled.find("engine", KEY) == folder


class TestBuilders:
    def test_what_a_builder_raises_passes_through_and_nothing_is_left(self) -> None:
        def fails(folder: Path) -> None:
            (folder / "half.bin").write_bytes(b"half")
            raise RuntimeError("unsupported layer")

        with pytest.raises(RuntimeError, match="unsupported layer"):
            compiled.obtain("engine", KEY, fails)
        assert compiled.artefacts() == [] and everything_but_artefacts() == []

    def test_ctrl_c_leaves_nothing_half_written(self) -> None:
        def interrupted(folder: Path) -> None:
            (folder / "half.bin").write_bytes(b"half")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            compiled.obtain("engine", KEY, interrupted)
        assert compiled.artefacts() == [] and everything_but_artefacts() == []

    def test_a_builder_that_writes_nothing_or_links_is_not_kept(self, tmp_path: Path) -> None:
        said: list[str] = []
        assert compiled.obtain("engine", KEY, lambda folder: None, say=said.append) is None
        assert "nothing was built" in said[-1]

        def links(folder: Path) -> None:
            (folder / "engine.bin").symlink_to(tmp_path)

        assert compiled.obtain("engine", KEY, links, say=said.append) is None
        assert "engine.bin" in said[-1] and everything_but_artefacts() == []

    def test_a_build_inside_a_build_of_another_artefact_works(self) -> None:
        def outer(folder: Path) -> None:
            inner = compiled.obtain("engine", {**KEY, "model": "inner"}, writing(b"inner"))
            assert inner is not None
            (folder / "engine.bin").write_bytes((inner / "engine.bin").read_bytes() + b" outer")

        folder = compiled.obtain("engine", KEY, outer)
        assert folder is not None and (folder / "engine.bin").read_bytes() == b"inner outer"

    def test_of_many_threads_exactly_one_builds(self) -> None:
        builds: list[int] = []

        def build(folder: Path) -> None:
            builds.append(threading.get_ident())
            (folder / "engine.bin").write_bytes(bytes(1_000_000))

        with ThreadPoolExecutor(8) as pool:
            wanted = [pool.submit(compiled.obtain, "engine", KEY, build) for _ in range(8)]
            folders = {each.result() for each in wanted}
        assert len(builds) == 1 and folders == {shelf.home() / shelf.name_of("engine", KEY)}

    def test_who_may_not_wait_goes_on_without_the_cache(self) -> None:
        said: list[str] = []

        def outer(folder: Path) -> None:
            # The same artefact: as if another process were building it.
            assert compiled.obtain("engine", KEY, never, say=said.append, wait_s=0) is None
            (folder / "engine.bin").write_bytes(b"engine")

        assert compiled.obtain("engine", KEY, outer) is not None
        assert "another process" in said[-1]


class TestRoom:
    def test_the_least_recently_used_artefacts_are_dropped(self) -> None:
        folders = []
        for name in "abc":
            folder = compiled.obtain("engine", {"model": name}, writing(bytes(100_000)))
            assert folder is not None
            folders.append(folder)
        release()
        for age, folder in zip((3, 1, 2), folders, strict=True):
            os.utime(folder, ns=(10**18 - age, 10**18 - age))
        compiled.set_bound(250_000)
        newest = compiled.obtain("engine", {"model": "d"}, writing(bytes(100_000)))
        assert [item.path for item in compiled.artefacts()] == [folders[1], newest]

    def test_one_in_use_by_any_process_is_never_dropped(self, tmp_path: Path) -> None:
        script = tmp_path / "user.py"
        script.write_text(
            "import sys\nfrom pathlib import Path\nfrom edgeinfer import cache, compiled\n"
            "cache.set_root(Path(sys.argv[1]))\n"
            "print(compiled.find('engine', {'model': 'theirs'}), flush=True)\nsys.stdin.read()\n"
        )
        theirs = compiled.obtain("engine", {"model": "theirs"}, writing(bytes(100_000)))
        other = compiled.obtain("engine", {"model": "other"}, writing(bytes(100_000)))
        release()
        child = Child(str(script), [str(tmp_path / "cache")])
        try:
            assert child.process.stdout is not None
            assert child.process.stdout.readline().decode().strip() == str(theirs)
            compiled.set_bound(1)
            ours = compiled.obtain("engine", {"model": "ours"}, writing(bytes(100_000)))
            assert {item.path for item in compiled.artefacts()} == {theirs, ours}
            assert compiled.clear() == []
        finally:
            child.close()  # by SIGKILL: the kernel takes its mark away
        assert other is not None and not other.exists()
        assert [item.path for item in compiled.clear()] == [theirs]

    def test_a_bound_of_zero_keeps_nothing(self) -> None:
        compiled.set_bound(0)
        assert compiled.obtain("engine", KEY, never) is None

    def test_clear_drops_what_nobody_uses(self) -> None:
        compiled.obtain("engine", KEY, writing(b"engine"))
        assert compiled.clear() == []
        release()
        assert [item.kind for item in compiled.clear()] == ["engine"]
        assert compiled.artefacts() == [] and everything_but_artefacts() == []

    def test_leftovers_of_a_killed_builder_are_collected_by_whoever_comes_next(self) -> None:
        compiled.obtain("engine", KEY, writing(b"engine"))
        home = shelf.home()
        name = shelf.name_of("engine", {"model": "killed"})
        (home / "building" / name).mkdir()
        (home / "building" / name / "half.bin").write_bytes(b"half")
        (home / "locks" / f"{name}.lock").touch()
        (home / "trash" / "0123").mkdir()
        (home / "trash" / "a file").touch()
        assert compiled.find("engine", KEY) is not None
        assert everything_but_artefacts() == []


class TestACacheThatRefuses:
    def refused(self) -> str:
        said: list[str] = []
        assert compiled.find("engine", KEY) is None
        assert compiled.obtain("engine", KEY, writing(bytes(3 << 20)), say=said.append) is None
        assert compiled.artefacts() == []
        return said[-1]

    @pytest.mark.parametrize("part", ["", "1", "1/compiled", "1/compiled/locks"])
    def test_a_file_where_a_folder_should_be_costs_speed_only(self, root: Path, part: str) -> None:
        path = root / part if part else root
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        assert "not cached" in self.refused()

    def test_a_read_only_cache_still_gives_what_is_in_it(self, root: Path) -> None:
        folder = compiled.obtain("engine", KEY, writing(b"engine"))
        release()
        with read_only(root):
            assert compiled.find("engine", KEY) == folder
            said: list[str] = []
            other = {**KEY, "model": "other"}
            assert compiled.obtain("engine", other, never, say=said.append) is None
            assert "not cached" in said[-1]
            release()

    def test_a_disk_without_free_space_is_not_filled_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.statvfs(".")
        full = os.statvfs_result((*real[:3], 0, 0, *real[5:]))
        monkeypatch.setattr(os, "statvfs", lambda path: full)
        said: list[str] = []
        assert compiled.obtain("engine", KEY, never, say=said.append) is None
        assert "nearly full" in said[-1]

    @pytest.mark.parametrize("limit", [0, 100_000])
    def test_a_file_that_cannot_grow_costs_speed_only(self, limit: int) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            said = self.refused()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "not cached" in said and everything_but_artefacts() == []

    def test_a_runtime_that_hides_why_it_could_not_write_does_too(self) -> None:
        def builds(folder: Path) -> None:
            raise RuntimeError("serialization failed") from OSError(errno.ENOSPC, "no space")

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            assert compiled.obtain("engine", KEY, builds) is None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        with pytest.raises(RuntimeError, match="serialization failed"):
            compiled.obtain("engine", KEY, builds)

    def test_a_full_disk_costs_speed_only(self, root: Path) -> None:
        root.mkdir()
        with small_disk(root):
            small = compiled.obtain("engine", {"model": "small"}, writing(bytes(500_000)))
            assert small is not None
            said: list[str] = []
            assert compiled.obtain("engine", KEY, writing(bytes(3 << 20)), say=said.append) is None
            assert "full" in said[-1] and everything_but_artefacts() == []
            assert compiled.find("engine", {"model": "small"}) == small
            release()

    def test_a_file_system_without_locks_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_locks(handle: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", no_locks)
        assert "no locks" in self.refused()

    def test_a_folder_that_everybody_may_write_to_is_not_used(self) -> None:
        compiled.obtain("engine", KEY, writing(b"engine"))
        shelf.home().chmod(0o777)
        assert compiled.find("engine", KEY) is None
        said: list[str] = []
        assert compiled.obtain("engine", KEY, never, say=said.append) is None
        assert "everybody" in said[-1]


@contextlib.contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[bool]:
    """Mount something where that is allowed; yields whether it was."""
    done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", str(target)], check=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of two megabytes; where nothing may be mounted, files that stop growing at two."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=2m", "none") as done:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if not done:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Read-only by a mount, which stops root, too; where that is not allowed, by the mode, and for
    root by files that stand where a builder's folders should."""
    with mounted(folder, "--bind", str(folder)) as done:
        if done:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            yield
            return
    if os.geteuid() == 0:
        for part in ("building", "locks", "trash"):
            (shelf.home() / part).rmdir()
            (shelf.home() / part).touch()
    inner = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in inner:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in inner:
            path.chmod(0o700)


def test_a_note_that_a_killed_writer_left_half_written_is_collected(root: Path) -> None:
    cache.note("notes", "a", {"value": 1})
    folder = root / "1" / "notes"
    for name, age_s in (("dead", 3600), ("alive", 0)):
        path = folder / f".edgeinfer-{name}-b.json"
        path.write_bytes(b"{")
        now = path.stat().st_mtime
        os.utime(path, (now - age_s, now - age_s))
    cache.note("notes", "c", {"value": 1})
    assert sorted(path.name for path in folder.iterdir()) == [
        ".edgeinfer-alive-b.json",
        "a.json",
        "c.json",
    ]
