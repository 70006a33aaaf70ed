"""Picture files: which ones a folder holds, and their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.datasets.base import DatasetError
from edgeinfer.frames import Array
from edgeinfer.packages import opencv

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def pictures_in(folder: Path, *, deep: bool) -> list[Path]:
    """The picture files of a folder, sorted by name, so that every run sees the same order.

    Args:
        folder: an existing folder.
        deep: whether folders inside it are searched too.

    Raises:
        DatasetError: if the folder cannot be read.
    """
    try:
        found = folder.rglob("*") if deep else folder.iterdir()
        return sorted(path for path in found if is_picture(path) and path.is_file())
    except OSError as error:
        raise DatasetError(f"The folder {folder} cannot be read: {error.strerror}.") from error


def read_picture(path: Path) -> Array:
    """Read a picture, turned upright as its EXIF data say.

    Returns:
        `(H, W, 3)` uint8 BGR; grey pictures become three equal channels.

    Raises:
        DatasetError: if the file is missing, cut off or no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"The picture {path} cannot be read: {error.strerror}.") from error
    why = _why_damaged(data)
    if why is None:
        cv2 = opencv()
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            picture = None
        if picture is not None:
            decoded: Array = picture
            return decoded
        why = "it is no picture that OpenCV can decode"
    raise DatasetError(
        f"The picture {path} cannot be used: {why}. Remove it or fetch it again; figures over "
        f"the rest would not be what they claim to be."
    )


def _why_damaged(data: bytes) -> str | None:
    """Why a picture is not whole: OpenCV fills what is missing with grey and says nothing."""
    if not data:
        return "the file is empty (0 bytes)"
    jpeg_cut = data.startswith(b"\xff\xd8\xff") and not _jpeg_ends(data)
    png_cut = data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" not in data
    if jpeg_cut or png_cut:
        return f"it ends in the middle ({len(data)} bytes, the end mark is missing)"
    return None


def _jpeg_ends(data: bytes) -> bool:
    """Whether an end of image follows the first scan (ITU-T T.81, B.1.1 and B.2.1).

    The segments before the scan are stepped over: a thumbnail inside them has an end of its own.
    """
    position = 2
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker = data[position + 1]
        if marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        fill = marker == 0xFF
        position += 1 if fill else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False
