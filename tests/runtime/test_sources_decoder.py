"""The shared memory between decoder and reader: lending, holding, growing, lying."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from edgeinfer.frames import Array
from edgeinfer.sources import messages
from edgeinfer.sources.decoder import Decoder
from edgeinfer.sources.lending import Lender, shared_memory
from edgeinfer.sources.slots import CannotDecode, Slots
from edgeinfer.testing import FakeClock


class FakeCapture:
    """Gives the frames of a list; None stands for one that cannot be decoded."""

    def __init__(self, frames: Sequence[Array | None], fps: float = 25.0) -> None:
        self.frames = frames
        self.at = -1
        self.times: Sequence[float] | None = None
        self.fps = fps

    def grab(self) -> bool:
        self.at += 1
        return self.at < len(self.frames)

    def retrieve(self, image: Array | None = None, /) -> tuple[bool, Array | None]:
        frame = self.frames[self.at]
        if frame is None:
            return False, None
        if image is not None and image.shape == frame.shape:
            image[...] = frame
            return True, image
        return True, frame.copy()

    def get(self, prop: int, /) -> float:
        if prop == 0:
            return self.times[self.at] if self.times else float("nan")
        return {5: self.fps, 7: 99.0}[prop]


class Pair:
    """A decoder's slots and a reader's lender over the same memory, in one process."""

    def __init__(self, *, hold: bool = False) -> None:
        self.fd = shared_memory()
        self.out, self.into = os.pipe()
        self.lender = Lender(self.fd, self.into)
        self.slots = Slots(self.fd, self.send, lambda: os.read(self.out, 4096))
        self.records: list[tuple[int, tuple[int, ...]]] = []
        self.copies: list[Array] = []
        self.held: list[Array] = []
        self.hold = hold

    def send(self, record: bytes) -> None:
        kind, values = messages.unpack(record)
        self.records.append((kind, values))
        if kind == messages.LAYOUT:
            self.lender.lay_out(*values[:4])
        if kind == messages.FRAME:
            taken = self.lender.take(values[0], values[5:8])
            self.copies.append(taken.copy())
            if self.hold:
                self.held.append(taken[1:])  # a view only

    def run(self, capture: FakeCapture, stride: int = 1) -> None:
        Decoder(capture, self.slots, self.send, stride).run()

    def kinds(self) -> list[int]:
        return [kind for kind, _ in self.records]

    def of(self, kind: int) -> list[tuple[int, ...]]:
        return [values for found, values in self.records if found == kind]

    def close(self) -> None:
        for fd in (self.fd, self.out, self.into):
            os.close(fd)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def pictures(count: int, height: int = 4, width: int = 6) -> list[Array]:
    return [np.full((height, width, 3), number % 256, np.uint8) for number in range(count)]


def test_every_frame_arrives_unchanged_through_few_slots(pair: Pair) -> None:
    frames = pictures(50)
    pair.run(FakeCapture(frames))
    np.testing.assert_array_equal(pair.copies, frames)
    assert pair.kinds()[:3] == [messages.OPENED, messages.LAYOUT, messages.FRAME]
    assert pair.of(messages.END)[0][0] == 50
    assert len({values[0] for values in pair.of(messages.FRAME)}) <= 9


def test_frames_that_are_held_are_never_overwritten(pair: Pair) -> None:
    pair.hold = True
    pair.run(FakeCapture(pictures(40)))
    for number, view in enumerate(pair.held):
        assert (view == number).all()
    owners = {id(view.base) for view in pair.held}
    assert len(owners) == 40


def test_a_planted_early_return_of_a_slot_overwrites_a_held_frame(pair: Pair) -> None:
    pair.hold = True
    returned = pair.lender._returns
    returned.lend = lambda slot, frame: returned.hand_back(slot)  # type: ignore[method-assign]
    pair.run(FakeCapture(pictures(40)))
    assert any((view != number).any() for number, view in enumerate(pair.held))


def test_a_slot_goes_back_when_the_last_view_is_gone(pair: Pair) -> None:
    pair.hold = True
    pair.run(FakeCapture(pictures(3)))
    assert len(pair.lender._returns.lent) == 3
    view = pair.held[0][0, 0]
    del pair.held[:]
    gc.collect()
    assert len(pair.lender._returns.lent) == 1
    del view
    gc.collect()
    assert not pair.lender._returns.lent


def test_a_frame_may_outlive_everything_else() -> None:
    pair = Pair(hold=True)
    pair.run(FakeCapture(pictures(3)))
    held = pair.held
    pair.close()
    del pair
    gc.collect()
    assert [int(view[0, 0, 0]) for view in held] == [0, 1, 2]
    held.clear()


def test_frames_may_change_their_size(pair: Pair) -> None:
    pair.hold = True
    frames = [*pictures(3), *pictures(3, 40, 60), *pictures(3, 2, 3), *pictures(2, 400, 60)]
    pair.run(FakeCapture(frames))
    for copy, view, frame in zip(pair.copies, pair.held, frames, strict=True):
        np.testing.assert_array_equal(copy, frame)
        np.testing.assert_array_equal(view, frame[1:])
    assert len(pair.of(messages.LAYOUT)) == 3  # smaller frames use the room that is there


def test_with_a_stride_the_index_counts_all_frames(pair: Pair) -> None:
    pair.run(FakeCapture(pictures(10)), stride=4)
    assert [values[1] for values in pair.of(messages.FRAME)] == [0, 4, 8]
    assert pair.of(messages.END)[0][0] == 10


def test_a_frame_that_cannot_be_decoded_is_passed_over(pair: Pair) -> None:
    one, two, three = pictures(3)
    pair.run(FakeCapture([None, one, None, two, three]))
    assert [values[1] for values in pair.of(messages.FRAME)] == [1, 3, 4]


def test_without_any_frame_there_is_an_error(pair: Pair) -> None:
    for frames in ([], [None, None]):
        with pytest.raises(CannotDecode) as caught:
            pair.run(FakeCapture(frames))
        assert caught.value.reason == messages.NO_FRAMES


def test_a_frame_beyond_the_limit_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_FRAME_BYTES", 100)
    with pytest.raises(CannotDecode) as caught:
        pair.run(FakeCapture(pictures(1, 10, 10)))
    assert caught.value.reason == messages.TOO_LARGE


def test_media_time_is_the_containers_and_never_runs_backwards(pair: Pair) -> None:
    capture = FakeCapture(pictures(6), fps=10.0)
    capture.times = [40.0, 140.0, 0.0, float("nan"), 440.0, 440.0]
    pair.run(capture)
    assert [values[2] // 10**6 for values in pair.of(messages.FRAME)] == [
        40,
        140,
        240,
        340,
        440,
        540,
    ]


def test_without_clock_and_rate_the_media_time_is_unknown(pair: Pair) -> None:
    pair.run(FakeCapture(pictures(2), fps=0.0))
    assert [values[2] for values in pair.of(messages.FRAME)] == [-1, -1]


@pytest.mark.parametrize(
    ("slot", "shape"),
    [(9, (4, 6, 3)), (-1, (4, 6, 3)), (0, (4000, 6, 3)), (0, (0, 6, 3)), (0, (-4, -6, 3))],
)
def test_a_decoder_that_lies_about_slots_is_not_believed(
    pair: Pair, slot: int, shape: tuple[int, ...]
) -> None:
    pair.run(FakeCapture(pictures(1)))
    with pytest.raises(ValueError, match="the decoder speaks of"):
        pair.lender.take(slot, shape)


def test_a_decoder_that_lies_about_memory_is_not_believed(pair: Pair) -> None:
    with pytest.raises(ValueError, match="not there"):
        pair.lender.lay_out(0, 1 << 20, 4, 0)


def test_shared_memory_cannot_be_cut_off() -> None:
    fd = shared_memory()
    os.ftruncate(fd, 8192)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


class Stalling(FakeCapture):
    """Gives its frames at once, then waits in vain.

    Args:
        clock: that it moves.
        held: whether a frame is left that the decoder held back.
    """

    def __init__(self, frames: Sequence[Array | None], clock: FakeClock, held: bool) -> None:
        super().__init__(frames)
        self._clock = clock
        self._held = held

    def grab(self) -> bool:
        self.at += 1
        if self.at == 2:
            self._clock.advance(8)
            return self._held
        return self.at < 2


@pytest.mark.parametrize("held", [False, True])
def test_a_stream_that_waits_in_vain_is_no_stream_that_ended(
    held: bool, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("edgeinfer.sources.decoder.now_ns", clock)
    capture = Stalling(pictures(3), clock, held)
    decoder = Decoder(capture, pair.slots, pair.send, 1, patience_ns=8)
    with pytest.raises(CannotDecode) as caught:
        decoder.run()
    assert caught.value.reason == messages.STALLED
    assert messages.END not in pair.kinds()
    assert len(pair.of(messages.FRAME)) == 2


def test_a_box_that_allows_no_thread_is_not_the_videos_fault() -> None:
    code = (
        "import threading; threading.stack_size(1 << 46)\n"
        "from edgeinfer.sources.decoder import main\n"
        "main(['0', 'file', 'clip.mp4', '1', '1', '1000'])\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True).stdout
    kind, values = messages.unpack(told[: messages.RECORD_BYTES])
    assert (kind, values[1]) == (messages.TEXT, messages.REFUSED)
    assert b"thread" in told[messages.RECORD_BYTES :]
