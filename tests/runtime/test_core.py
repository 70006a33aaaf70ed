"""Geometry, files, clock, machine, children, cache: the ground that everything stands on."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from edgeinfer import cache
from edgeinfer.child import Child
from edgeinfer.errors import InputError, SinkError, SpecError, suggest
from edgeinfer.files import GrowingText, atomic_path, write_text
from edgeinfer.frames import FrameId, frame_from_array
from edgeinfer.geometry import fit
from edgeinfer.machine import cgroup_quota, this_machine, usable_cpus
from edgeinfer.results import (
    Classes,
    Detections,
    Placement,
    Result,
    Served,
    Tensors,
    finite,
)
from edgeinfer.spec import InputSpec
from edgeinfer.timing import format_ns, quantile, summarize


def test_the_users_cache_is_where_platformdirs_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_root", None)
    for given in (None, "", "/somewhere/else"):
        if given is None:
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert str(cache.root().parent) == platformdirs.user_cache_dir("edgeinfer", appauthor=False)


def test_a_user_without_a_home_has_no_cache_in_the_working_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "_root", None)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it does for an unknown user
    assert str(cache.root()).startswith("/nonexistent/")


def test_a_cache_that_is_named_from_the_working_folder_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "_root", None)
    monkeypatch.chdir(tmp_path)
    cache.set_root("mine")
    monkeypatch.chdir("/")
    assert cache.root().parent == tmp_path / "mine"


SERVED = Served("cpu", "stub 1", "cpu", "fp32", 1, "auto", {}, Placement("partition", {}))


@pytest.mark.parametrize(
    ("frame", "rule", "anchor", "inner", "offset"),
    [
        ((1280, 720), "letterbox", "center", (640, 360), (0, 140)),
        ((720, 1280), "letterbox", "center", (360, 640), (140, 0)),
        ((1280, 720), "letterbox", "top-left", (640, 360), (0, 0)),
        ((1280, 720), "pad-br", "center", (640, 360), (0, 0)),
        ((1280, 720), "stretch", "center", (640, 640), (0, 0)),
        ((1280, 720), "center-crop", "center", (640, 640), (0, 0)),
        ((1, 10000), "letterbox", "center", (1, 640), (319, 0)),
    ],
)
def test_a_frame_is_laid_into_the_input(
    frame: tuple[int, int],
    rule: str,
    anchor: str,
    inner: tuple[int, int],
    offset: tuple[int, int],
) -> None:
    lay = fit(frame, (640, 640), rule, anchor)
    assert (lay.inner_wh, lay.offset_xy) == (inner, offset)


@pytest.mark.parametrize("rule", ["letterbox", "pad-br", "stretch", "center-crop"])
def test_the_corners_of_the_used_part_come_back_exactly(rule: str) -> None:
    lay = fit((811, 1079), (416, 640), rule, "center")
    x, y, width, height = lay.crop_xywh
    ox, oy = lay.offset_xy
    model = np.array([[ox, oy, ox + lay.inner_wh[0], oy + lay.inner_wh[1]]], np.float32)
    corners = lay.to_frame().boxes(model)[0]
    assert corners.tolist() == pytest.approx([x, y, x + width, y + height], abs=1e-3)
    points = lay.to_frame().points(model.reshape(-1, 2))
    assert points.ravel().tolist() == pytest.approx(corners.tolist(), abs=1e-3)


def test_a_frame_of_another_size_is_refused_where_the_rule_is_none() -> None:
    with pytest.raises(SpecError, match="640x480"):
        fit((640, 480), (640, 640), "none", "center")


def test_quantiles_are_stated_only_with_ten_samples_beyond_them() -> None:
    assert summarize(range(1, 20))["p50"] is None
    assert summarize(range(1, 21))["p50"] == 10
    assert summarize(range(1, 100))["p90"] is None
    assert summarize(range(1, 101))["p90"] == 90
    assert summarize(range(1, 1001))["p99"] == 990
    assert summarize(range(1, 1000))["p99"] is None
    assert summarize([]) == {
        "n": 0,
        "mean": None,
        "p50": None,
        "p90": None,
        "p95": None,
        "p99": None,
        "p999": None,
        "max": None,
    }


def test_a_quantile_is_always_a_value_that_was_measured() -> None:
    assert quantile([1, 1000] * 0 + sorted([1] * 30 + [1000] * 30), 0.5) == 1


def test_durations_are_shown_with_three_digits() -> None:
    shown = [format_ns(v) for v in (12_345_678, 1_234_567, 123_456, 123_456_789, 0, None)]
    assert shown == ["12.3 ms", "1.23 ms", "0.123 ms", "123 ms", "0 ms", "-"]


def test_numbers_that_are_none_become_null_and_are_flagged() -> None:
    clean, found = finite({"a": [1.0, math.nan], "b": {"c": -math.inf}, "d": "x"})
    assert (clean, found) == ({"a": [1.0, None], "b": {"c": None}, "d": "x"}, True)
    value = Detections(
        np.array([[0, 0, 1, np.inf]], np.float32), np.array([np.nan], np.float32), np.array([7])
    )
    result = Result(value, FrameId("a.jpg", 0, None, 0, (4, 4)), "detect", SERVED, {}, 1, 2)
    line = result.to_dict()
    assert line["flags"] == ["nonfinite"]
    assert line["detections"][0]["label"] == "7"
    assert json.dumps(line, allow_nan=False)


def test_a_result_holds_every_stage_of_the_contract() -> None:
    value = Classes(np.array([1]), np.array([0.5], np.float32), ("a", "b"))
    frame = FrameId("a.jpg", 3, 40, 0, (4, 4))
    line = Result(value, frame, "classify", SERVED, {"inference": 5}, 7, 9).to_dict()
    assert line["stages_ns"]["inference"] == 5
    assert line["stages_ns"]["transfer_in"] is None
    assert line["classes"] == [{"label": "b", "class_id": 1, "score": 0.5}]
    assert (line["frame"], line["media_time_ns"], line["size_wh"]) == (3, 40, [4, 4])


def test_large_tensors_are_summarised() -> None:
    small = Tensors({"x": np.arange(3.0)}).to_dict()["outputs"]["x"]
    assert small["values"] == [0.0, 1.0, 2.0]
    large = Tensors({"x": np.arange(5000.0)}).to_dict()["outputs"]["x"]
    assert large["summary"]["max"] == 4999.0
    assert "values" not in large


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((1, 4, 4, 3), np.uint8), "one by one"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((4,), np.uint8), "H, W"),
    ],
)
def test_an_array_that_is_no_picture_says_how_to_mend_it(array: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        frame_from_array(array)


def test_something_that_is_no_array_is_refused() -> None:
    with pytest.raises(InputError, match="list"):
        frame_from_array([1, 2])  # type: ignore[arg-type]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temp:
        temp.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    write_text(path, "new")
    mask = os.umask(0)
    os.umask(mask)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o666 & ~mask)


@pytest.mark.parametrize("name", ["no/such/folder/a.txt", "."])
def test_an_unwritable_place_says_what_to_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match=r"mkdir -p|is a folder"):
        write_text(tmp_path / name, "x")


def test_a_growing_file_leaves_the_old_one_until_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old\n")
    lines = GrowingText(path)
    assert path.read_text() == "old\n"
    lines.write_line("one")
    assert path.read_text() == "one\n"
    lines.write_line("two")
    assert path.read_text() == "one\ntwo\n"
    lines.close()
    lines.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_quota_is_the_smallest_of_all_groups_above(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/a/b\n")
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "a/cpu.max").write_text("150000 100000\n")
    (tmp_path / "a/b/cpu.max").write_text("300000 100000\n")
    assert cgroup_quota(tmp_path, tmp_path / "self") == 1.5
    (tmp_path / "a/cpu.max").write_text("max 100000\n")
    assert cgroup_quota(tmp_path, tmp_path / "self") == 3.0


def test_the_quota_of_version_1_groups_is_read(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("3:cpu,cpuacct:/job\n1:name=systemd:/\n")
    folder = tmp_path / "cpu,cpuacct/job"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert cgroup_quota(tmp_path, tmp_path / "self") == 0.5
    (folder / "cpu.cfs_quota_us").write_text("-1")
    assert cgroup_quota(tmp_path, tmp_path / "self") is None


def test_threads_never_exceed_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeinfer.machine.affinity_cpus", lambda: 8)
    for quota, threads in ((None, 8), (2.5, 3), (0.5, 1), (16.0, 8)):
        monkeypatch.setattr("edgeinfer.machine.cgroup_quota", lambda quota=quota: quota)
        assert usable_cpus() == threads


def test_the_machine_describes_itself() -> None:
    machine = this_machine()
    assert machine.cpus >= 1
    assert machine.memory_bytes > 1 << 28
    assert json.dumps(machine.to_dict())


def test_a_child_runs_in_an_empty_folder_and_ends_with_its_signal() -> None:
    finished = Child("platform", ["--terse"]).wait(60)
    assert finished.returncode == 0
    assert finished.stdout.strip()
    child = Child("http.server", ["0", "--bind", "127.0.0.1"])
    folder = Path(os.readlink(f"/proc/{child.process.pid}/cwd"))
    assert list(folder.iterdir()) == []
    child.close()
    child.close()
    assert not folder.exists()


def test_a_child_that_takes_too_long_is_killed() -> None:
    child = Child("http.server", ["0", "--bind", "127.0.0.1"])
    assert child.wait(0.05).returncode is None


def test_notes_come_back_and_damaged_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_root", tmp_path)
    cache.note("kind", "key", {"a": 1})
    assert cache.recall("kind", "key") == {"a": 1}
    next(tmp_path.rglob("key.json")).write_text("[1]")
    assert cache.recall("kind", "key") is None
    assert cache.key_of("a", "b") != cache.key_of("ab", "")


def test_the_cache_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_root", tmp_path)
    monkeypatch.setattr(cache, "_MAX_NOTES", 10)
    for number in range(40):
        cache.note("kind", str(number), {})
    assert len(list((tmp_path / "1/kind").iterdir())) <= 11


def test_near_names_are_suggested_and_far_ones_listed() -> None:
    assert suggest("cud", ["cpu", "cuda"]) == "Did you mean 'cuda'?"
    assert suggest("zzz", ["cpu", "cuda"]) == "Known: cpu, cuda."


def test_mean_and_std_become_one_factor_and_offset_a_channel() -> None:
    spec = InputSpec("x", size_hw=(4, 4), mean=(0.5, 0, 0), std=(0.25, 1, 2))
    pairs = spec.per_channel()
    assert pairs[0] == pytest.approx((4 / 255, -2.0))
    assert pairs[2] == pytest.approx((1 / 510, 0.0))


def test_lines_go_into_a_pipe_without_replacing_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    lines = GrowingText(pipe)
    lines.write_line("one")
    lines.close()
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(SinkError, match="regular file"):
        write_text(pipe, "x")


def test_what_a_link_points_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_full_disk_is_a_sink_error_from_first_line_to_last(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    code = (
        "import resource, sys; from pathlib import Path; from edgeinfer.files import GrowingText;"
        "from edgeinfer.errors import SinkError;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2);"
        "lines = GrowingText(Path(sys.argv[1]))\n"
        "try:\n"
        "    for _ in range(100): lines.write_line('x' * 100)\n"
        "except SinkError as error: print('sink')\n"
        "try: lines.close()\n"
        "except SinkError: pass\n"
    )
    for limit in ("50", "1000"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "out"), limit],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert (done.returncode, done.stdout) == (0, "sink\n"), done.stderr
    assert (tmp_path / "out").read_text() == 9 * ("x" * 100 + "\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_growing_file_that_somebody_empties_grows_from_its_beginning(tmp_path: Path) -> None:
    lines = GrowingText(tmp_path / "a.jsonl")
    lines.write_line("one")
    os.truncate(tmp_path / "a.jsonl", 0)
    lines.write_line("two")
    lines.close()
    assert (tmp_path / "a.jsonl").read_bytes() == b"two\n"


@pytest.mark.parametrize("other", [False, True])
def test_a_growing_file_that_is_removed_is_not_written_unseen(other: bool, tmp_path: Path) -> None:
    lines = GrowingText(tmp_path / "a.jsonl")
    lines.write_line("one")
    if other:  # another run that writes there
        theirs = GrowingText(tmp_path / "a.jsonl")
        theirs.write_line("theirs")
        theirs.close()
    else:
        (tmp_path / "a.jsonl").unlink()
    with pytest.raises(SinkError, match="removed or replaced"):
        lines.write_line("two")
    lines.close()


def test_a_name_that_is_not_utf_8_can_be_told_in_a_text(tmp_path: Path) -> None:
    write_text(tmp_path / "report.html", os.fsdecode(b"b\xff.jpg"))
    assert (tmp_path / "report.html").read_text() == "b\\udcff.jpg"
