"""Reads the records of a decoder as they come, and knows when it has waited too long."""

from __future__ import annotations

import os
import select

from edgeinfer.records import dataclass
from edgeinfer.sources import messages
from edgeinfer.timing import now_ns


@dataclass(frozen=True)
class Record:
    """One message: its kind, its values, and the text that follows it."""

    kind: int
    values: tuple[int, ...]
    text: str = ""


class Silence(Exception):
    """Nothing came in time."""


class Inbox:
    """The reading end of a decoder's standard output.

    Args:
        pipe: its descriptor.
        timeout_s: seconds to wait for the next sign of life.
    """

    def __init__(self, pipe: int, timeout_s: float) -> None:
        self._pipe = pipe
        self._timeout_s = timeout_s
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def read(self) -> Record | None:
        """Wait for the next record; None where the decoder is gone.

        Raises:
            Silence: if nothing came in time.
        """
        if not self._need(messages.RECORD_BYTES):
            return None
        kind, values = messages.unpack(bytes(self._buffer[: messages.RECORD_BYTES]))
        length = min(max(values[0], 0), messages.MAX_TEXT_BYTES) if kind == messages.TEXT else 0
        if not self._need(messages.RECORD_BYTES + length):
            return None
        text = bytes(self._buffer[messages.RECORD_BYTES : messages.RECORD_BYTES + length])
        del self._buffer[: messages.RECORD_BYTES + length]
        return Record(kind, values, text.decode(errors="replace"))

    def _need(self, count: int) -> bool:
        """Have so many bytes in the buffer; False at the end of the pipe."""
        deadline = now_ns() + round(self._timeout_s * 1e9)
        while len(self._buffer) < count:
            left_ms = max(0, deadline - now_ns()) / 1e6
            if not self._poll.poll(left_ms):
                raise Silence
            chunk = os.read(self._pipe, 1 << 14)
            if not chunk:
                return False
            self._buffer += chunk
        return True
