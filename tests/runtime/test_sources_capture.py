"""Where OpenCV cannot convert a frame: another decoder takes over, from that frame on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
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


@pytest.mark.parametrize(("live", "then"), [(False, [2, 3, 4, 5]), (True, [0, 1, 2, 3, 4, 5])])
def test_another_decoder_goes_on_where_the_first_could_not(live: bool, then: list[int]) -> None:
    said = iter([b"", b"something else", b"[sws] Cannot convert interlaced to progressive frames"])
    capture = Watched(Counting(), lambda: next(said), Counting, live)
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
    capture = AvCapture(str(damaged), 1, None)
    count = 0
    while capture.grab():
        _, picture = capture.retrieve()
        assert picture is not None
        assert picture.shape == (64, 96, 3)
        count += 1
    assert count >= 1
