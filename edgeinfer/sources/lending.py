"""The shared memory that frames are decoded into, from the reader's side: it lends the slots."""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import weakref

import numpy as np

from edgeinfer.frames import Array
from edgeinfer.records import dataclass

# So many slots stay with the decoder whatever the reader keeps, so that it can go on.
_KEPT_FOR_DECODER = 2


def shared_memory() -> int:
    """Make empty shared memory that can grow and never shrink.

    A decoder that went wild could otherwise cut it off under the reader's eyes (SIGBUS).
    """
    fd = os.memfd_create("edgeinfer-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


class _Returns:
    """Hands slots back to the decoder, from any thread, at any time, also after its end."""

    def __init__(self, pipe: int) -> None:
        # Its own descriptor, closed when the last frame is gone: a number that was closed
        # earlier could by then be somebody else's file.
        self._pipe = os.dup(pipe)
        self._pid = os.getpid()
        self.lent: dict[int, weakref.ref[Array]] = {}

    def lend(self, slot: int, frame: Array) -> None:
        def gone(_: object) -> None:
            self.hand_back(slot)

        self.lent[slot] = weakref.ref(frame, gone)

    def hand_back(self, slot: int) -> None:
        self.lent.pop(slot, None)
        if os.getpid() == self._pid:  # in a forked process the frame is a copy
            with contextlib.suppress(OSError):  # the decoder is gone
                os.write(self._pipe, bytes((slot,)))

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._pipe)


@dataclass(frozen=True)
class _Room:
    memory: mmap.mmap
    slot_bytes: int
    first: int
    count: int


class Lender:
    """Gives frames out of the shared memory.

    A frame's array lies in its slot until nobody refers to it (or to a view of it) any more; then
    the slot goes back. A reader that keeps many frames gets copies instead, so the decoder always
    has slots left and no frame is ever overwritten.

    Args:
        fd: the shared memory.
        pipe: the decoder's standard input.
    """

    def __init__(self, fd: int, pipe: int) -> None:
        self._fd = fd
        self._returns = _Returns(pipe)
        self._room: _Room | None = None

    def lay_out(self, offset: int, slot_bytes: int, count: int, first: int) -> None:
        """Use the room that the decoder made.

        Raises:
            ValueError: if it is not there.
        """
        size = slot_bytes * count
        there = os.fstat(self._fd).st_size
        if slot_bytes < 1 or count < 1 or min(offset, first) < 0 or offset + size > there:
            raise ValueError("the decoder speaks of memory that is not there")
        self._room = _Room(mmap.mmap(self._fd, size, offset=offset), slot_bytes, first, count)

    def take(self, slot: int, shape: tuple[int, ...]) -> Array:
        """The frame in a slot, as uint8 of `shape`: lent, or copied where many are lent already.

        Raises:
            ValueError: if there is no such slot, or the frame does not fit into it.
        """
        room = self._room
        needed = math.prod(shape)
        if room is None or not 0 <= slot - room.first < room.count or slot in self._returns.lent:
            raise ValueError(f"the decoder speaks of a slot that is not there ({slot})")
        if min(shape) < 1 or needed > room.slot_bytes:
            raise ValueError(f"the decoder speaks of a frame that does not fit ({shape})")
        start = (slot - room.first) * room.slot_bytes
        flat = np.frombuffer(room.memory, np.uint8, needed, start)
        if len(self._returns.lent) >= room.count - _KEPT_FOR_DECODER:
            copy: Array = flat.reshape(shape).copy()
            self._returns.hand_back(slot)
            return copy
        # Views of `flat`, and views of those, refer to `flat` itself: NumPy keeps the owner alive.
        self._returns.lend(slot, flat)
        return flat.reshape(shape)
