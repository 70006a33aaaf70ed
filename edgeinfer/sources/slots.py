"""The shared memory that frames are decoded into, from the decoder's side: it fills the slots."""

from __future__ import annotations

import math
import mmap
import os
from collections import deque
from collections.abc import Callable

import numpy as np

from edgeinfer.frames import Array
from edgeinfer.sources import messages

# The feed and two lanes hold three frames; two stay for the decoder. Where results are drawn, more
# are held, and those are copies: a ring that had room for all would take twice the memory.
_SLOTS = 5
_MIN_SLOTS = 4
_RING_BYTES = 64 << 20


class CannotDecode(Exception):
    """Ends the decoder with one of the reasons of `messages`."""

    def __init__(self, reason: int, text: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class Slots:
    """A few slots of equal size; the parent lends them out and hands them back.

    Args:
        fd: the shared memory, empty at first; it grows by `lay_out` only.
        send: takes a record for the parent.
        receive: waits for slot numbers that the parent hands back.
    """

    def __init__(
        self, fd: int, send: Callable[[bytes], None], receive: Callable[[], bytes]
    ) -> None:
        self._fd = fd
        self._send = send
        self._receive = receive
        self._memory: mmap.mmap | None = None
        self._slot_bytes = 0
        self._first = 0
        self._next_number = 0
        self._free: deque[int] = deque()

    def take(self, shape: tuple[int, ...]) -> tuple[int, Array]:
        """Wait for a free slot.

        Returns:
            Its number, and uint8 of `shape` in it.

        Raises:
            CannotDecode: if the frame is larger than any that is allowed.
        """
        needed = math.prod(shape)
        if needed > self._slot_bytes:
            self._lay_out(needed)
        while not self._free:
            self._free.extend(slot for slot in self._receive() if slot >= self._first)
        slot = self._free.popleft()
        assert self._memory is not None
        start = (slot - self._first) * self._slot_bytes
        return slot, np.frombuffer(self._memory, np.uint8, needed, start).reshape(shape)

    def put_back(self, slot: int) -> None:
        """Free a slot that was taken and not announced."""
        if slot >= self._first:
            self._free.appendleft(slot)

    def _lay_out(self, needed: int) -> None:
        """Append room for larger frames; the old room stays, for frames that are still held."""
        page = mmap.ALLOCATIONGRANULARITY
        slot_bytes = -(-needed // page) * page
        count = max(_MIN_SLOTS, min(_SLOTS, _RING_BYTES // slot_bytes))
        first = self._next_number
        if needed > messages.MAX_FRAME_BYTES:
            raise CannotDecode(messages.TOO_LARGE, f"a frame of {needed} bytes")
        if first + count > messages.MAX_SLOT_NUMBERS:
            raise CannotDecode(messages.TOO_LARGE, "frames that grow again and again")
        offset = os.fstat(self._fd).st_size
        os.ftruncate(self._fd, offset + slot_bytes * count)
        self._memory = mmap.mmap(self._fd, slot_bytes * count, offset=offset)
        self._slot_bytes, self._first, self._next_number = slot_bytes, first, first + count
        self._free = deque(range(first, first + count))
        self._send(messages.pack(messages.LAYOUT, offset, slot_bytes, count, first))
