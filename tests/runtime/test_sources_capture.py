"""Where OpenCV cannot convert a frame: another decoder takes over, from that frame on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgeinfer.frames import Array
from edgeinfer.sources import open_source
from edgeinfer.sources.capture import AvCapture, Watched

LEVELS = (40, 90, 140, 200)


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MPEG-2 video of grey frames, each brighter than the one before, marked as interlaced."""
    path = tmp_path_factory.mktemp("interlaced") / "clip.mpg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ilme+ildct"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for level in LEVELS:
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), level, np.uint8), "rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    return path


def test_interlaced_frames_are_what_was_recorded(interlaced: Path) -> None:
    frames = list(open_source(interlaced))
    assert [frame.id.index for frame in frames] == [0, 1, 2, 3]
    for frame, level in zip(frames, LEVELS, strict=True):
        assert frame.data.shape == (64, 96, 3)
        assert np.abs(frame.data.astype(int) - level).max() <= 6


def test_a_stride_skips_interlaced_frames(interlaced: Path) -> None:
    frames = list(open_source(interlaced, stride=2))
    assert [frame.id.index for frame in frames] == [0, 2]
    assert np.abs(frames[1].data.astype(int) - LEVELS[2]).max() <= 6


class Counting:
    """A capture whose frames are numbered from `first` on."""

    def __init__(self, first: int = 0, count: int = 6) -> None:
        self.numbers: Iterator[int] = iter(range(first, count))
        self.number = -1

    def grab(self) -> bool:
        self.number = next(self.numbers, -1)
        return self.number >= 0

    def retrieve(self, image: Array | None = None, /) -> tuple[bool, Array | None]:
        return True, np.array([self.number])

    def get(self, prop: int, /) -> float:
        return float(prop)


class Saying:
    """A standard error that says one thing after the other, then nothing."""

    def __init__(self, *texts: bytes) -> None:
        self.texts = iter(texts)

    def said(self) -> bytes:
        return next(self.texts, b"")

    def drop(self) -> None:
        self.texts = iter(())


@pytest.mark.parametrize(("live", "then"), [(False, [2, 3, 4, 5]), (True, [0, 1, 2, 3, 4, 5])])
def test_another_decoder_goes_on_where_the_first_could_not(live: bool, then: list[int]) -> None:
    said = Saying(b"", b"something else", b"[sws] Cannot convert interlaced to progressive frames")
    capture = Watched(Counting(), said, Counting, print, 10**12 if live else None)
    given = []
    while capture.grab():
        good, picture = capture.retrieve()
        assert good
        assert picture is not None
        given.append(int(picture[0]))
    assert given == [0, 1, *then]


def test_a_packet_that_is_damaged_is_passed_over(interlaced: Path, tmp_path: Path) -> None:
    data = bytearray(interlaced.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 200):
        data[at] ^= 0x5A
    damaged = tmp_path / "damaged.mpg"
    damaged.write_bytes(data)
    lost: list[int] = []
    capture = AvCapture(str(damaged), 1, None, lost.append)
    count = 0
    while capture.grab():
        _, picture = capture.retrieve()
        assert picture is not None
        assert picture.shape == (64, 96, 3)
        count += 1
    assert count >= 1
    assert count + sum(lost) <= len(LEVELS)


def test_frames_after_a_damaged_one_are_given_and_the_lost_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"strict": "unofficial"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(8):
            picture = np.full((64, 96, 3), 20 + 20 * number, np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            packet = av.Packet(b"nothing of a picture" if number in (0, 3, 4) else data)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = Fraction(1, 25)
            container.mux(packet)
    source = open_source(path)
    given = [round(float(frame.data.mean()) / 20) - 1 for frame in source]
    assert given == [1, 2, 5, 6, 7]
    assert any("passed over: 3" in note for note in source.notes)


class Damaged(Counting):
    """A capture none of whose packets can be decoded."""

    def grab(self) -> bool:
        return False


@pytest.mark.parametrize("patience_ns", [1_000_000, None])
def test_what_is_nothing_but_damage_is_given_up(patience_ns: int | None) -> None:
    said = Saying(*[b"invalid data"] * 100_000)
    capture = Watched(Damaged(), said, Damaged, print, patience_ns)
    assert not capture.grab()
    assert said.said()  # not because there was nothing more to say


def test_what_a_camera_complains_of_is_kept_nowhere() -> None:
    code = (
        "import os\n"
        "from edgeinfer.sources.capture import StandardError\n"
        "error = StandardError()\n"
        "os.write(2, b'Corrupt JPEG data')\n"
        "assert error.said() == b'Corrupt JPEG data'\n"
        "error.drop()\n"
        "os.write(2, b'Corrupt JPEG data')\n"
        "assert error.said() == b''\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
