"""Annotated video that plays whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgeinfer.errors import SinkError
from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.results import Payload, Placement, Result, Served, Tensors
from edgeinfer.sinks.video import VideoFile, canvas_wh, on_canvas

SERVED = Served("cpu", "ort", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))
SUFFIXES = (".mp4", ".mkv", ".avi")


def numbered(number: int, width: int = 64, height: int = 48) -> Array:
    """A picture whose halves tell its number in octal, in steps that encoders keep."""
    picture: Array = np.full((height, width, 3), number // 8 % 8 * 32 + 16, np.uint8)
    picture[:, width // 2 :] = number % 8 * 32 + 16
    return picture


def number_of(picture: Array) -> int:
    half = picture.shape[1] // 2
    eights, ones = picture[:, :half].mean(), picture[:, half:].mean()
    return round((eights - 16) / 32) * 8 + round((ones - 16) / 32)


def a_frame(number: int, width: int = 64, height: int = 48) -> Frame:
    picture = numbered(number, width, height)
    return Frame(FrameId("clip", number, 0, 0, (width, height)), picture)


def put(sink: VideoFile, frame: Frame) -> None:
    result: Result[Payload] = Result(Tensors({}), frame.id, "tensor", SERVED, {}, 0, 0)
    sink.write(result, frame)


def played(path: Path) -> list[int]:
    """The numbers of the frames that a player shows."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    numbers = []
    while True:
        good, picture = capture.read()
        if not good:
            return numbers
        numbers.append(number_of(picture))


def write(path: Path, count: int, fps: float = 20.0) -> VideoFile:
    sink = VideoFile(path, fps)
    for number in range(count):
        put(sink, a_frame(number))
    return sink


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_frame_is_played_in_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, 60, 29.97).close(complete=True)
    assert played(path) == list(range(60))
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 60
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(29.97, abs=0.01)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_player_can_jump(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, 60).close(complete=True)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_POS_FRAMES, 45)
    assert number_of(capture.read()[1]) == 45


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_there_from_the_first_frame_and_plays_unfinished(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("an older file")
    sink = VideoFile(path, 20.0)
    assert path.read_text() == "an older file"
    put(sink, a_frame(0))
    assert path.read_bytes()[:5] != b"an ol"
    for number in range(1, 50):
        put(sink, a_frame(number))
    shown = played(path)
    assert shown == list(range(len(shown))) and len(shown) >= 30
    sink.close(complete=False)
    sink.close(complete=False)
    assert played(path) == list(range(50))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_plays_after_a_kill(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    script = (
        "import os, sys, numpy as np; from pathlib import Path;"
        "from edgeinfer.sinks.video import VideoFile; from edgeinfer.frames import *;"
        "sink = VideoFile(Path(sys.argv[1]), 20.0)\n"
        "for n in range(50):\n"
        "    a = np.full((48, 64, 3), n // 8 * 32 + 16, np.uint8); a[:, 32:] = n % 8 * 32 + 16\n"
        "    f = Frame(FrameId('x', n, 0, 0, (64, 48)), a)\n"
        "    sink.write(None, f)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    shown = played(path)
    assert shown == list(range(len(shown))) and len(shown) >= 30
    assert os.listdir(tmp_path) == [path.name]


def test_a_plain_writer_leaves_nothing_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    script = (
        "import cv2, numpy as np, os, sys;"
        "w = cv2.VideoWriter(sys.argv[1], cv2.VideoWriter_fourcc(*'mp4v'), 20.0, (64, 48));"
        "[w.write(np.full((48, 64, 3), n, np.uint8)) for n in range(50)]; os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert played(path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_off_anywhere_plays_up_to_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, 60).close(complete=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    shown = played(path)
    assert shown[:20] == list(range(20))


def test_frames_of_another_size_are_letterboxed_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoFile(path, 20.0)
    put(sink, a_frame(63, 64, 48))
    put(sink, a_frame(63, 200, 48))
    sink.close(complete=True)
    capture = cv2.VideoCapture(str(path))
    first, second = capture.read()[1], capture.read()[1]
    assert first.shape == second.shape == (48, 64, 3)
    assert second[24, 32, 0] > 150 and second[2, 32, 0] < 60


def test_sizes_that_encoders_refuse_are_brought_to_ones_that_they_take(tmp_path: Path) -> None:
    assert canvas_wh(321, 241) == (322, 242)
    assert canvas_wh(3, 500) == (16, 500)
    assert max(canvas_wh(20000, 1000)) <= 8190
    odd = np.full((241, 321, 3), 9, np.uint8)
    np.testing.assert_array_equal(on_canvas(odd, (322, 242))[:241, :321], odd)
    assert on_canvas(np.full((8, 8), 5, np.uint8), (16, 16)).shape == (16, 16, 3)
    for number, size in enumerate([(1, 1), (17, 33)]):
        path = tmp_path / f"{number}.mp4"
        sink = VideoFile(path, 20.0)
        put(sink, a_frame(9, *size))
        sink.close(complete=True)
        assert len(played(path)) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_video_that_is_removed_is_not_written_unseen(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoFile(path, 20.0)
    put(sink, a_frame(0))
    path.rename(tmp_path / "moved")
    put(sink, a_frame(1))
    (tmp_path / "moved").unlink()
    with pytest.raises(SinkError, match="removed or replaced"):
        put(sink, a_frame(2))
    sink.close(complete=False)


def test_nothing_is_kept_of_each_frame_to_be_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, 40).close(complete=True)
    # The index of the fragments: 41 bytes a frame are a hundred megabytes a day.
    assert b"mfra" not in path.read_bytes()
    with av.open(str(path)) as container:
        assert container.duration == 2_000_000
        container.seek(1_000_000)
        assert next(container.decode(video=0)).time == 1.0


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_full_disk_is_an_error_and_what_was_written_plays(ending: str, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    path = tmp_path / f"out{ending}"
    script = (
        "import resource, sys, numpy as np; from pathlib import Path;"
        "from edgeinfer.errors import SinkError;"
        "from edgeinfer.sinks.video import VideoFile; from edgeinfer.frames import *;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000));"
        "sink = VideoFile(Path(sys.argv[1]), 20.0); random = np.random.default_rng(0)\n"
        "try:\n"
        "    for n in range(200):\n"
        "        a = random.integers(0, 256, (48, 64, 3), np.uint8)\n"
        "        sink.write(None, Frame(FrameId('x', n, 0, 0, (64, 48)), a))\n"
        "except SinkError as error: print(error)\n"
        "try: sink.close(complete=False)\n"
        "except SinkError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert path.name in done.stdout, done.stderr
    assert ".edgeinfer-" not in done.stdout  # the name that it had before
    assert len(played(path)) >= 3
