"""Annotated pictures: one file, or a folder of them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from edgeinfer.errors import EdgeInferError, SinkError
from edgeinfer.files import check_writable, write_bytes
from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.packages import opencv
from edgeinfer.results import Payload, Result

WRITTEN_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_JPEG_QUALITY = 92


def write_picture(path: Path, picture: Array) -> None:
    """Write a picture whole or not at all, in the format of its ending.

    Args:
        picture: `(H, W, 3)` or `(H, W)` uint8 BGR.

    Raises:
        SinkError: if it cannot be encoded or written.
    """
    cv2 = opencv()
    suffix = path.suffix.lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix in (".jpg", ".jpeg") else []
    try:
        good, data = cv2.imencode(suffix, picture, options)
    except cv2.error as error:
        good, why = False, str(error).splitlines()[0]
    else:
        why = "no encoder for it"
    if not good:
        raise SinkError(
            f"The picture {path} ({picture.shape[1]}x{picture.shape[0]}) cannot be encoded as "
            f"{suffix}: {why}. Choose another ending, .png say."
        )
    write_bytes(path, data.tobytes())


class FreeNames:
    """Gives a name that was taken before in this run a number."""

    def __init__(self) -> None:
        self._taken: set[Path] = set()

    def take(self, path: Path) -> Path:
        number, free = 2, path
        while free in self._taken:
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
            number += 1
        self._taken.add(free)
        return free


class PictureFile:
    """One picture; each further frame replaces it.

    Raises:
        SinkError: if no file can be created there.
    """

    needs_pixels = True

    def __init__(self, path: Path) -> None:
        check_writable(path)
        self._path = path

    def write(self, result: Result[Payload], frame: Frame | None, /) -> None:
        if frame is not None and isinstance(frame.data, np.ndarray):
            write_picture(self._path, frame.data)

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        """Nothing: there is no picture to show."""

    def close(self, *, complete: bool) -> None:
        """Nothing: each picture is whole once written."""


class PictureFolder:
    """A folder of pictures, named as their sources; made with the first one.

    Pictures of folders inside a source's folder go to folders of the same names. Frames of videos
    get their index behind the name. A name that was written before in this run gets a number.

    Raises:
        SinkError: if the folder cannot be made or written to.
    """

    needs_pixels = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = FreeNames()
        if folder.exists():
            check_writable(folder / "picture.png")
        elif not _nearest_folder(folder).is_dir():
            raise SinkError(f"The folder {folder} cannot be made: a file is in its way.")

    def write(self, result: Result[Payload], frame: Frame | None, /) -> None:
        if frame is None or not isinstance(frame.data, np.ndarray):
            return
        path = self._names.take(self._folder / file_name(frame.id))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(
                f"The folder {path.parent} cannot be made: {error.strerror}."
            ) from error
        write_picture(path, frame.data)

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        """Nothing: there is no picture to show."""

    def close(self, *, complete: bool) -> None:
        """Nothing: each picture is whole once written."""


def _nearest_folder(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def file_name(identity: FrameId) -> Path:
    """A relative path for a frame, inside the folder whatever the stream is called."""
    plain = identity.stream.partition("://")[2] or identity.stream
    parts = [part for part in PurePosixPath(plain).parts if part not in ("/", "..")]
    path = Path(*(part.replace(":", "-") for part in parts)) if parts else Path("frame")
    is_picture = path.suffix.lower() in WRITTEN_SUFFIXES
    if identity.media_time_ns is None and identity.index == 0:
        return path if is_picture else path.with_name(f"{path.stem}.png")
    suffix = path.suffix if is_picture else ".jpg"
    return path.with_name(f"{path.stem}-{identity.index:06d}{suffix}")
