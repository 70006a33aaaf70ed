"""The child that decodes: a damaged or hostile file kills it, not the process that wants frames.

Run as ``python -m edgeinfer.sources.decoder FD KIND TARGET STRIDE THREADS TIMEOUT_MS``. Frames go
into slots of the shared memory FD, news of them to standard output, see `messages`.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from edgeinfer.frames import Array
from edgeinfer.sources import messages
from edgeinfer.sources.capture import (
    FPS,
    FRAME_COUNT,
    POS_MSEC,
    Capture,
    StandardError,
    open_capture,
)
from edgeinfer.sources.slots import CannotDecode, Slots
from edgeinfer.timing import now_ns

_ALIVE_NS = 1_000_000_000


class Decoder:
    """Decodes a capture from its first frame to its last.

    Args:
        capture: opened.
        slots: where frames go.
        send: takes a record for the parent.
        stride: every how many-th frame is given; the others are decoded and not converted.
        patience_ns: after which the capture itself gives a frame up; None where it does not.
    """

    def __init__(
        self,
        capture: Capture,
        slots: Slots,
        send: Callable[[bytes], None],
        stride: int,
        patience_ns: int | None = None,
    ) -> None:
        self._capture = capture
        self._slots = slots
        self._send = send
        self._stride = stride
        self._patience_ns = patience_ns
        fps = capture.get(FPS)
        self._fps = fps if 0 < fps < 10_000 else 0.0
        self._last_media_ns, self._last_index = -1, 0
        self._shape: tuple[int, ...] | None = None
        self._waited_ns = 0

    def run(self) -> None:
        """Decode everything, then say how many frames there were.

        Raises:
            CannotDecode: if there was none, or one that is too large, or none came in time.
        """
        index = 0
        begun = told = now_ns()
        while self._grab():
            if index % self._stride == 0 and (placed := self._retrieve()) is not None:
                slot, shape = placed
                told = now_ns()
                took = max(0, told - begun - self._waited_ns)
                self._tell(slot, index, told, took, shape)
                begun, self._waited_ns = now_ns(), 0
            elif now_ns() - told > _ALIVE_NS:
                told = now_ns()
                self._send(messages.pack(messages.ALIVE))
            index += 1
        if self._shape is None:
            raise CannotDecode(messages.NO_FRAMES)
        self._send(messages.pack(messages.END, index))

    def _grab(self) -> bool:
        asked = now_ns()
        good = self._capture.grab()
        # It says the same of a stream that ended and of one that it waited for in vain; or, after
        # the wait, it hands out what its decoder still held from before.
        if self._patience_ns is not None and now_ns() - asked >= self._patience_ns:
            raise CannotDecode(messages.STALLED, f"{self._patience_ns / 1e9:g}")
        return good

    def _retrieve(self) -> tuple[int, tuple[int, ...]] | None:
        """Convert the grabbed frame into a slot; None where it cannot be decoded."""
        if self._shape is None:
            good, picture = self._capture.retrieve()
            if not good or picture is None:
                return None
            self._open(picture)
            return self._copy(picture)
        slot, room = self._take(self._shape)
        good, picture = self._capture.retrieve(room)
        if good and picture is not None and _same_memory(picture, room):
            return slot, room.shape
        # A frame of another size does not fit the slot: OpenCV made an array of its own.
        self._slots.put_back(slot)
        return self._copy(picture) if good and picture is not None else None

    def _take(self, shape: tuple[int, ...]) -> tuple[int, Array]:
        start = now_ns()
        taken = self._slots.take(shape)
        self._waited_ns += now_ns() - start
        return taken

    def _copy(self, picture: Array) -> tuple[int, tuple[int, ...]]:
        slot, room = self._take(picture.shape)
        room[...] = picture
        self._shape = picture.shape
        return slot, picture.shape

    def _open(self, picture: Array) -> None:
        claimed = self._capture.get(FRAME_COUNT)
        count = int(claimed) if math.isfinite(claimed) and 0 < claimed < 1e12 else -1
        height, width = picture.shape[:2]
        fps = round(self._fps * 1e6)
        self._send(messages.pack(messages.OPENED, width, height, count, fps))

    def _tell(
        self, slot: int, index: int, ready_ns: int, took_ns: int, shape: tuple[int, ...]
    ) -> None:
        media = self._media_time_ns(index)
        channels = shape[2] if len(shape) == 3 else 1
        self._send(
            messages.pack(
                messages.FRAME, slot, index, media, ready_ns, took_ns, shape[0], shape[1], channels
            )
        )

    def _media_time_ns(self, index: int) -> int:
        """The container's time of the grabbed frame where it makes sense, else counted by fps."""
        msec = self._capture.get(POS_MSEC)
        media = round(msec * 1e6) if math.isfinite(msec) and 0 <= msec < 1e12 else -1
        if media <= self._last_media_ns:  # none, or it runs backwards
            since = index - self._last_index
            media = self._last_media_ns + round(since * 1e9 / self._fps) if self._fps else -1
        if media >= 0:
            self._last_media_ns, self._last_index = media, index
        return media


def _same_memory(one: Array, other: Array) -> bool:
    def start(array: Array) -> int:
        address: int = array.__array_interface__["data"][0]
        return address

    return one is other or (one.shape == other.shape and start(one) == start(other))


def _end_with_parent() -> None:
    """Watch for the end of standard input in a thread: the parent is gone, whatever we do."""
    watch = select.poll()
    watch.register(0, 0)  # no event but the hang-up, so slots that come back do not wake it

    def wait() -> None:
        watch.poll()
        _end()

    threading.Thread(target=wait, name="edgeinfer-parent", daemon=True).start()


def _end() -> NoReturn:
    with contextlib.suppress(OSError):
        os.rmdir(os.getcwd())  # the folder that the parent made for us, and will not remove
    os._exit(0)


def _returned_slots() -> bytes:
    slots = os.read(0, 4096)
    if not slots:
        _end()
    return slots


def main(arguments: list[str]) -> None:
    """Decode what the arguments say, then end without tidying: damaged decoders die tidying."""
    fd, kind, target, stride, threads, timeout_ms = arguments
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)

    def send(record: bytes) -> None:
        os.write(out, record)

    def lost(count: int) -> None:
        send(messages.pack(messages.LOST, count))

    reason, text = 0, ""
    try:
        import cv2  # noqa: F401  (its errors still go to the parent's pipe)

        standard_error = StandardError()
        _end_with_parent()
        capture = open_capture(kind, target, int(threads), int(timeout_ms), standard_error, lost)
        patience_ns = int(timeout_ms) * 1_000_000 if kind == "url" else None
        slots = Slots(int(fd), send, _returned_slots)
        Decoder(capture, slots, send, int(stride), patience_ns).run()
    except CannotDecode as error:
        reason, text = error.reason, str(error)
    except BrokenPipeError:
        _end()
    except (MemoryError, OSError, RuntimeError) as error:
        reason, text = messages.REFUSED, str(error) or type(error).__name__
    except Exception as error:
        reason, text = messages.FAILED, f"{type(error).__name__}: {error}"
    if reason:
        words = text.encode()[: messages.MAX_TEXT_BYTES]
        send(messages.pack(messages.TEXT, len(words), reason) + words)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
