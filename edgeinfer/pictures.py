"""One picture: from bytes to pixels, with limits and with a mark on what is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import SourceError
from edgeinfer.frames import Array
from edgeinfer.packages import opencv
from edgeinfer.sniff import looks_like, read_head

# 805 MB of pixels. The largest cameras make 200 megapixels; OpenCV itself stops at 2^30.
PIXEL_LIMIT = 1 << 28
_BYTE_LIMIT = 1 << 30

_EOI = b"\xff\xd9"
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
# ITU-T T.81, table B.1: the frame headers (SOF) and the markers that stand alone.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))


def read_picture(path: Path) -> tuple[Array, tuple[str, ...]]:
    """Read and decode one picture file.

    Returns:
        `(H, W, 3)` uint8 BGR, upright as its EXIF data say, and the flags of the frame:
        ``truncated`` where the end of the file is missing and the rest of the picture is grey.

    Raises:
        SourceError: naming the file, what it looks like and what to do.
    """
    head = read_head(path)
    kind, words = looks_like(head)
    if kind not in ("picture", "unknown"):
        raise SourceError(f"The picture {path} cannot be used: it is {words}. {_ADVICE}")
    try:
        if path.stat().st_size > _BYTE_LIMIT:
            raise SourceError(f"The picture {path} is larger than 1 GiB: it is none, or a trap.")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"The picture {path} cannot be read: {error.strerror}.") from error
    return decode_picture(data, str(path))


_ADVICE = "Fetch it again or remove it."


def decode_picture(data: bytes, where: str) -> tuple[Array, tuple[str, ...]]:
    """Decode a picture in memory; of an animation, the first frame.

    Args:
        data: the whole file.
        where: what to call it in messages.

    Returns:
        As `read_picture`.

    Raises:
        SourceError: if it is too large, cut off or no picture.
    """
    size, cut_off = _examine(data)
    if size is not None and size[0] * size[1] > PIXEL_LIMIT:
        raise SourceError(
            f"The picture {where} claims {size[0]}x{size[1]} pixels; the limit is {PIXEL_LIMIT} "
            f"in all. It is damaged or hostile; if it is neither, scale it down first."
        )
    if cut_off and not data.startswith(b"\xff\xd8"):
        # OpenCV decodes no part of a PNG that is cut off, and libpng complains to stderr.
        raise SourceError(
            f"The picture {where} is cut off: its end is missing after {len(data)} bytes. {_ADVICE}"
        )
    cv2 = opencv()
    # OpenCV 5 refuses a JPEG without an end, OpenCV 4 fills it with grey; with an end, both fill.
    whole = data + _EOI if cut_off else data
    try:
        picture = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        _, words = looks_like(data[:512])
        raise SourceError(
            f"The picture {where} cannot be decoded: it looks like {words} ({len(data)} bytes), "
            f"and it is damaged or of a kind that OpenCV {cv2.__version__} cannot read. {_ADVICE}"
        )
    return picture, ("truncated",) if cut_off else ()


def _examine(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Width and height without decoding, where that is cheap, and whether the end is missing."""
    if data.startswith(b"\xff\xd8\xff"):
        return _examine_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _pair(data, 16, 20, 4, "big"), _IEND not in data[33:]
    if data.startswith(b"BM") and len(data) >= 26:
        width, height = _pair(data, 18, 22, 4, "little")
        return (width, (1 << 32) - height if height >= 1 << 31 else height), False
    if data[8:16] == b"WEBPVP8X":  # the canvas, 24 bits each, less one
        width, height = _pair(data, 24, 27, 3, "little")
        return (width + 1, height + 1), False
    return None, False


def _pair(data: bytes, first: int, second: int, length: int, order: str) -> tuple[int, int]:
    def number(at: int) -> int:
        return int.from_bytes(data[at : at + length], "little" if order == "little" else "big")

    return number(first), number(second)


def _examine_jpeg(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Walk the segments to the first scan; what lies before it may hold a thumbnail's end mark."""
    at, size = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == 0xDA:
            return size, data.find(_EOI, at) < 0
        else:
            if marker in _SOF:
                height, width = _pair(data, at + 5, at + 7, 2, "big")
                size = width, height
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return size, True
