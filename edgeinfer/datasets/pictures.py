"""Picture files: which ones a folder holds, and their pixels."""

from __future__ import annotations

from pathlib import Path

from edgeinfer import pictures
from edgeinfer.datasets.base import DatasetError
from edgeinfer.errors import SourceError
from edgeinfer.frames import Array

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
        picture, flags = pictures.read_picture(path)
    except SourceError as error:
        raise DatasetError(str(error)) from error
    if flags:
        raise DatasetError(
            f"The picture {path} is cut off: its end is missing. Fetch it again or remove it."
        )
    return picture
