"""Videos as sources: decoded in a child, which may die, hang or lie."""

from __future__ import annotations

import functools
import gc
import http.server
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.child import collect_leftovers
from edgeinfer.errors import SourceError, UsageError
from edgeinfer.frames import Frame
from edgeinfer.sources import open_source
from edgeinfer.sources.live import public_address
from edgeinfer.sources.video import Video
from edgeinfer.timing import now_ns

COUNT = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames of 64x48 at 20 frames/s, each with a grey of its own."""
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for number in range(COUNT):
        writer.write(np.full((48, 64, 3), number * 4, np.uint8))
    writer.release()
    return path


def opened(path: Path, stride: int = 1, timeout_s: float | None = None) -> Video:
    source = open_source(str(path), stride=stride, timeout_s=timeout_s)
    assert isinstance(source, Video)
    return source


def number_of(frame: Frame) -> int:
    return round(float(np.asarray(frame.data).mean()) / 4)


def ended(pid: int) -> bool:
    """Wait for the end of a process, ten seconds at most."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    result = bool(poll.poll(10_000))
    os.close(fd)
    return result


def test_a_video_gives_every_frame_in_order(clip: Path) -> None:
    source = opened(clip)
    info = source.info
    assert (info.name, info.kind, info.live, info.size_wh) == ("clip.avi", "video", False, (64, 48))
    assert (info.frame_count, info.fps) == (COUNT, 20.0)
    frames = []
    for frame in source:
        assert number_of(frame) == frame.id.index
        frames.append(frame.id)
    assert [identity.index for identity in frames] == list(range(COUNT))
    assert frames[10].media_time_ns == 500_000_000
    assert frames[0].ready_ns < frames[-1].ready_ns <= now_ns()
    assert source.notes == ()
    assert list(source) == []


def test_each_frame_says_what_its_decoding_took(clip: Path) -> None:
    frame = next(opened(clip))
    assert 0 < frame.stages_ns["capture"] < 10**10


def test_held_frames_stay_what_they_were(clip: Path) -> None:
    frames = list(opened(clip))
    gc.collect()
    assert [number_of(frame) for frame in frames] == list(range(COUNT))


def test_a_stride_gives_every_so_many_th_frame(clip: Path) -> None:
    source = opened(clip, stride=7)
    assert source.info.frame_count == 9
    assert source.info.fps == pytest.approx(20 / 7)
    assert [(frame.id.index, number_of(frame)) for frame in source] == [
        (index, index) for index in range(0, COUNT, 7)
    ]


def test_a_header_that_claims_more_frames_is_noted_only(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):
        at = data.index(chunk) + offset
        data[at : at + 4] = struct.pack("<I", 75)
    path = tmp_path / "long.avi"
    path.write_bytes(data)
    source = opened(path)
    assert len(list(source)) == COUNT
    if source.info.frame_count == 75:  # some versions count the index instead
        assert "75 frames, 60 could be decoded" in source.notes[0]


def test_a_dead_decoder_is_an_error_after_the_frames_before_it(clip: Path) -> None:
    source = opened(clip)
    assert number_of(next(source)) == 0
    os.kill(source._child.process.pid, signal.SIGABRT)
    frames = []
    with pytest.raises(SourceError, match=r"clip\.avi.*died \(SIGABRT\) at frame \d+.*damaged"):
        frames.extend(iter(source.__next__, None))
    with pytest.raises(StopIteration):
        next(source)
    assert source.info.size_wh == (64, 48)


def test_a_decoder_that_hangs_is_stopped(clip: Path) -> None:
    source = opened(clip)
    first = next(source)
    pid = source._child.process.pid
    os.kill(pid, signal.SIGSTOP)
    source._inbox._timeout_s = 0.1
    with pytest.raises(SourceError, match=r"no frame came for 30 s"):
        for _ in range(COUNT):
            next(source)
    assert ended(pid)
    assert number_of(first) == 0


def test_closing_wakes_a_reader_that_waits(clip: Path) -> None:
    source = opened(clip)
    next(source)
    pid = source._child.process.pid
    os.kill(pid, signal.SIGSTOP)
    left: list[Frame] = []
    reader = threading.Thread(target=lambda: left.extend(source))
    reader.start()
    source.close()
    reader.join(10)
    assert not reader.is_alive() and ended(pid)
    source.close()


def test_losing_the_source_ends_the_decoder(clip: Path) -> None:
    source = opened(clip)
    frame = next(source)
    pid = source._child.process.pid
    del source
    gc.collect()
    assert ended(pid)
    assert number_of(frame) == 0


def test_the_death_of_the_reader_ends_the_decoder(clip: Path) -> None:
    script = (
        "import sys; from edgeinfer.sources import open_source; s = open_source(sys.argv[1]);"
        "next(s); print(s._child.process.pid, s._child._folder.name, flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(clip)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as reader:
        assert reader.stdout is not None
        pid, folder = reader.stdout.readline().decode().split()
        reader.kill()
    assert ended(int(pid))
    if Path(folder).exists():  # it was killed before it could tidy up: the next process does
        os.utime(folder, (0, 0))
        collect_leftovers.cache_clear()
        collect_leftovers()
    assert not Path(folder).exists()


def test_ctrl_c_does_not_reach_the_decoder(clip: Path) -> None:
    source = opened(clip)
    next(source)
    os.kill(source._child.process.pid, signal.SIGINT)
    assert len(list(source)) == COUNT - 1


def test_a_closed_source_leaves_nothing_behind(clip: Path) -> None:
    next(opened(clip))  # whatever is opened once and stays
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        source = opened(clip)
        next(source)
        source.close()
        del source
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def raw_avi(path: Path, side: int = 48, count: int = 10) -> Path:
    """A valid raw AVI that makes some OpenCV versions overrun a buffer and abort."""
    frame = side * side * 3

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body

    avih = struct.pack("<14I", 40000, frame * 25, 0, 0x10, count, 0, 1, frame, side, side, *[0] * 4)
    strh = b"vidsDIB " + struct.pack(
        "<IHHIIIIIIIIhhhh", 0, 0, 0, 0, 1, 25, 0, count, frame, 2**32 - 1, frame, 0, 0, side, side
    )
    strf = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, frame, 0, 0, 0, 0)
    strl = chunk(b"LIST", b"strl" + chunk(b"strh", strh) + chunk(b"strf", strf))
    hdrl = chunk(b"LIST", b"hdrl" + chunk(b"avih", avih) + strl)
    movi = chunk(b"LIST", b"movi" + b"".join(chunk(b"00db", bytes(frame)) for _ in range(count)))
    path.write_bytes(chunk(b"RIFF", b"AVI " + hdrl + movi))
    return path


def test_a_video_that_kills_opencv_does_not_kill_us(tmp_path: Path) -> None:
    source = opened(raw_avi(tmp_path / "raw.avi"))
    frames, errors = [], []
    for _ in range(20):
        try:
            frames.append(next(source))
        except SourceError as error:  # noqa: PERF203 - that it may go on is the point
            errors.append(str(error))
        except StopIteration:
            break
    assert len(frames) == 10 or "the decoder died" in errors[0]


@pytest.mark.parametrize("keep", [40, 300])
def test_a_video_without_a_frame_says_so(clip: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.avi"
    path.write_bytes(clip.read_bytes()[:keep])
    source = opened(path)
    with pytest.raises(SourceError, match=r"cut\.avi (cannot be opened|holds no frame).*AVI video"):
        next(source)
    with pytest.raises(SourceError, match=r"cut\.avi"):
        _ = source.info


def test_noise_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(3).bytes(5000))
    with pytest.raises(SourceError, match=r"noise\.mp4 (cannot be opened|holds no frame)"):
        _ = opened(path).info


def test_a_camera_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(SourceError, match=r"camera:77 does not exist \(/dev/video77"):
        open_source("camera:77")
    with pytest.raises(UsageError, match="camera:0"):
        open_source("camera:front")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Gives whole files only, as many servers do."""

    def log_message(self, *args: object) -> None:
        pass


def test_an_index_at_the_end_of_a_file_is_named_where_the_server_gives_whole_files(
    tmp_path: Path,
) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (640, 480)
    )
    random = np.random.default_rng(0)
    for _ in range(40):
        writer.write(random.integers(0, 256, (480, 640, 3), np.uint8))
    writer.release()
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(SourceError, match=r"holds no frame.*index at their end.*faststart"):
                next(open_source(f"http://127.0.0.1:{server.server_port}/clip.mp4"))
        finally:
            server.shutdown()
            thread.join()


def test_a_dead_address_is_an_error_without_its_password() -> None:
    source = open_source("http://user:secret@127.0.0.1:9/stream")
    with pytest.raises(
        SourceError, match=r"http://127\.0\.0\.1:9/stream cannot be opened"
    ) as caught:
        next(source)
    assert "secret" not in str(caught.value)


def test_addresses_are_named_without_secrets() -> None:
    assert public_address("rtsp://u:p@cam.local:554/a/b?token=1") == "rtsp://cam.local:554/a/b"
    assert public_address("rtsp://[::1]:8554/x") == "rtsp://[::1]:8554/x"
    for text in ("rtsp://", "http://host:port/"):
        with pytest.raises(UsageError, match="address"):
            public_address(text)


def test_an_empty_gstreamer_pipeline_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="names no pipeline"):
        open_source("gst:")


@pytest.mark.realdata
def test_the_real_videos_have_the_frames_that_were_counted(realdata: Path) -> None:
    for name, decoded in (("car-detection.mp4", 377), ("bgs_video02.avi", 748)):
        source = opened(realdata / "videos" / name)
        assert sum(1 for _ in source) == decoded
    assert source.notes == ("bgs_video02.avi: its header claims 750 frames, 748 could be decoded.",)
