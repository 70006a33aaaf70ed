"""Live streams that break off and come back."""

from __future__ import annotations

import errno
import functools
import http.server
import itertools
import json
import math
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeinfer.cli import main as cli
from edgeinfer.errors import EdgeInferError, SourceError, UsageError, worth_telling
from edgeinfer.frames import Frame, FrameId
from edgeinfer.sources import SourceInfo, lasting, open_source, video
from edgeinfer.sources.lasting import Lasting
from edgeinfer.sources.video import Video
from edgeinfer.timing import now_ns


class Camera(http.server.ThreadingHTTPServer):
    """A camera of Motion JPEG that ends each connection after some frames.

    Attributes:
        asked: how often it was connected to; `absent` so many times it answers with an error.
    """

    daemon_threads = True

    def __init__(self, frames: int, absent: range = range(0)) -> None:
        super().__init__(("127.0.0.1", 0), Picture)
        self.frames, self.absent, self.asked = frames, absent, itertools.count()

    @property
    def address(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.server_port}/stream"


class Picture(http.server.BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        if next(self.server.asked) in self.server.absent:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for number in range(self.server.frames):
            _, picture = cv2.imencode(".jpg", np.full((48, 64, 3), 20 * number, np.uint8))
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture.tobytes() + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


def serving(camera: Camera) -> Iterator[Camera]:
    with camera:
        thread = threading.Thread(target=camera.serve_forever)
        thread.start()
        yield camera
        camera.shutdown()
        thread.join()


@pytest.fixture
def camera() -> Iterator[Camera]:
    """Five frames a connection; the third connection is refused."""
    yield from serving(Camera(5, absent=range(2, 3)))


@pytest.fixture
def lost_camera() -> Iterator[Camera]:
    """Five frames, then never again."""
    yield from serving(Camera(5, absent=range(1, 1 << 30)))


@pytest.fixture
def late_camera() -> Iterator[Camera]:
    """There from the third connection on."""
    yield from serving(Camera(5, absent=range(2)))


@pytest.mark.slow
def test_a_stream_goes_on_where_it_broke_off(camera: Camera) -> None:
    told: list[str] = []
    source = open_source(camera.address, reconnect_s=60, told=told.append)
    frames = [next(source) for _ in range(12)]
    source.close()
    assert [frame.id.index for frame in frames] == list(range(12))
    assert [frame.id.restarts for frame in frames] == [0] * 5 + [1] * 5 + [2] * 2
    grey = [round(float(np.asarray(frame.data).mean()) / 20) for frame in frames]
    assert grey == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    times = [frame.id.media_time_ns or 0 for frame in frames]
    assert times == sorted(set(times))
    away = frames[5].id.ready_ns - frames[4].id.ready_ns
    assert times[5] - times[4] == away >= 500_000_000
    assert [" is back after " in text for text in told] == [False, True, False, True]
    assert "was ended by its server. Trying again, for 60 s." in told[0]
    (note,) = source.notes
    assert "broke off 2 times and was away for" in note
    assert "secret" not in " ".join((*told, note, frames[11].id.stream))


@pytest.mark.slow
def test_a_box_that_starts_before_its_camera_waits_for_it(late_camera: Camera) -> None:
    told: list[str] = []
    source = open_source(late_camera.address, reconnect_s=math.inf, told=told.append)
    assert source.info.size_wh == (64, 48)
    assert next(source).id.index == 0
    source.close()
    assert "cannot be opened" in told[0] and told[0].endswith("Trying again, for ever.")
    assert " is back after " in told[1] and len(told) == 2


def test_without_it_a_stream_ends_where_it_breaks_off(camera: Camera) -> None:
    source = open_source(camera.address)
    assert len(list(source)) == 5
    assert "ended after 5 frames" in source.notes[0]


@pytest.mark.slow
def test_a_recording_on_a_server_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), number * 4, np.uint8))
    writer.release()

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/clip.avi", reconnect_s=60)
        assert len(list(source)) == 20
        assert list(source) == []
        server.shutdown()
        thread.join()


def refusing(*errors: SourceError) -> tuple[list[int], Lasting]:
    """A stream that is never there, and when it was asked for."""
    asked: list[int] = []
    left = iter(errors)

    def opener() -> Video:
        asked.append(now_ns())
        raise next(left, errors[-1])

    return asked, Lasting("rtsp://camera", opener, 1.2, None)


@pytest.mark.slow
def test_it_is_given_up_in_time_and_then_it_is_over() -> None:
    asked, source = refusing(SourceError("no route"))
    began = now_ns()
    with pytest.raises(SourceError, match=r"no route It was tried again for 1\.2 s") as told:
        next(source)
    assert (told.value.stream, told.value.index) == ("rtsp://camera", 0)
    assert now_ns() - began > 1_100_000_000
    assert len(asked) == 4  # at once, when a frame was asked for, after 0.5 s and at the end
    assert list(source) == []


@pytest.mark.slow
def test_how_long_it_was_away_is_told_though_it_never_came_back(lost_camera: Camera) -> None:
    source = open_source(lost_camera.address, reconnect_s=1.2)
    assert len(list(itertools.islice(source, 5))) == 5
    with pytest.raises(SourceError, match="in vain"):
        next(source)
    (note,) = source.notes
    times, away = re.findall(r"broke off (\w+) and was away for ([\d.]+) s", note)[0]
    assert times == "once" and float(away) >= 1.1
    assert source.notes == (note,)


class Once:
    """A stream that gives one frame and breaks off; what `Lasting` asks of a `Video`."""

    recording, ending, damaged = False, (), 0

    def __init__(self) -> None:
        ready = now_ns()
        frame = Frame(FrameId("camera", 0, 0, ready, (1, 1)), np.zeros((1, 1, 3), np.uint8))
        self.frames = iter([frame])
        self.info = SourceInfo("camera", True, "video", None, None, (1, 1))

    def __next__(self) -> Frame:
        for frame in self.frames:
            return frame
        raise SourceError("it broke off")

    def close(self) -> None:
        pass


def test_waiting_for_the_first_frame_is_no_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "_FIRST_WAIT_S", 0.01)
    there = iter((False, False, True, True))

    def opener() -> Any:
        if next(there):
            return Once()
        time.sleep(0.2)  # so long it takes to find out
        raise SourceError("no route")

    source = Lasting("camera", opener, math.inf)
    assert [frame.id.restarts for frame in itertools.islice(source, 2)] == [0, 1]
    (note,) = source.notes
    assert float(re.findall(r"away for ([\d.]+) s", note)[0]) < 0.2


def test_what_cannot_get_better_is_said_at_once() -> None:
    hopeless = SourceError("no GStreamer")
    hopeless.for_good = True
    with pytest.raises(SourceError, match="^no GStreamer$"):
        refusing(hopeless)


def test_a_box_that_gives_no_process_for_a_while_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EdgeInferError("No child process can be started: allow more processes.")

    monkeypatch.setattr(video, "Child", refuse)
    open_files = len(os.listdir("/proc/self/fd"))
    source = open_source("rtsp://camera/", reconnect_s=0.2)
    with pytest.raises(SourceError, match=r"No child process .* tried again for 0\.2 s") as told:
        next(source)
    assert (told.value.stream, told.value.index) == ("rtsp://camera/", 0)
    assert list(source) == []
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_a_box_that_gives_no_file_for_a_while_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(video, "shared_memory", refuse)
    with pytest.raises(SourceError, match=r"Too many open files.* tried again for 0\.2 s"):
        next(open_source("rtsp://camera/", reconnect_s=0.2))


def test_closing_ends_the_wait() -> None:
    def opener() -> Video:
        raise SourceError("no route")

    source = Lasting("rtsp://camera", opener, math.inf)
    reader = threading.Thread(target=list, args=[source])
    reader.start()
    time.sleep(0.1)
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    with pytest.raises(SourceError, match="closed before"):
        _ = source.info


def test_of_many_interruptions_a_few_are_told() -> None:
    assert [n for n in range(2000) if worth_telling(n)] == [*range(11), 100, 1000]


@pytest.mark.slow
def test_run_reconnects(camera: Camera, brightness_model: Path, tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    arguments = ["run", str(brightness_model), camera.address, "--policy", "all"]
    more = ["--reconnect", "60", "--frames", "8", "--json", str(lines)]
    assert cli.main([*arguments, *more]) == 0
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["frame"] for line in found] == list(range(8))
    assert [line["flags"] for line in found] == [[]] * 5 + [["reconnected"]] + [[]] * 2


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["synthetic", "--reconnect", "5"], "cannot break off"),
        (["rtsp://camera/", "--reconnect", "nan"], "no number of seconds"),
        (["rtsp://camera/", "--reconnect", "-1"], "--reconnect"),
    ],
)
def test_what_makes_no_sense_is_refused(
    brightness_model: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(brightness_model), *more]) == 2
    assert says in capsys.readouterr().err
    with pytest.raises(UsageError, match="0 or more"):
        open_source("camera:0", reconnect_s=math.nan)
