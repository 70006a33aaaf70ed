"""What a decoder and its parent say to each other: fixed records one way, single bytes the other.

Decoder to parent (its standard output): nine little-endian int64, the kind and eight values; TEXT
is followed by as many bytes of UTF-8 as it says. Parent to decoder (its standard input): one byte
for each slot handed back; the end of that stream ends the decoder.
"""

from __future__ import annotations

import struct

_RECORD = struct.Struct("<9q")
RECORD_BYTES = _RECORD.size

# Kind: values.
OPENED = 1  # width, height, frames that the header claims or -1, fps in millionths or 0
LAYOUT = 2  # where the first slot lies in the shared memory, bytes of a slot, slots, first number
FRAME = 3  # slot, index, media time in ns or -1, ready in ns, decode in ns, height, width, channels
ALIVE = 4  # nothing: skipping frames takes long
END = 5  # frames decoded in all
TEXT = 6  # bytes that follow, reason (below)
LOST = 7  # frames more that could not be decoded

# Reasons of TEXT.
NOT_OPENED = 1
NO_FRAMES = 2
NO_BACKEND = 3
TOO_LARGE = 4
FAILED = 5
INTERLACED = 6
STALLED = 7
REFUSED = 8  # not by the video: by the box, which gives no memory, thread or file

# A slot's number is one byte and is never used again for other memory.
MAX_SLOT_NUMBERS = 256
# 8192 x 8192 in colour: a larger frame is damaged or hostile.
MAX_FRAME_BYTES = 3 << 26
MAX_TEXT_BYTES = 1 << 16


def pack(kind: int, *values: int) -> bytes:
    """Make a record; missing values are 0."""
    return _RECORD.pack(kind, *values, *(0,) * (8 - len(values)))


def unpack(record: bytes) -> tuple[int, tuple[int, ...]]:
    """Take a record apart: its kind and its eight values."""
    kind, *values = _RECORD.unpack(record)
    return kind, tuple(values)
