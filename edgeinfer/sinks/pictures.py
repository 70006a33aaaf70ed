"""Annotated pictures: one file, or a folder of them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from edgeinfer.errors import EdgeInferError, SinkError
from edgeinfer.files import check_writable, write_bytes
from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.packages import opencv
from edgeinfer.results import Payload, Result

WRITTEN_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_JPEG_QUALITY = 92
# A stream, the number of a frame, and what class maps add.
_NUMBERED = re.compile(r"(.*)-(\d{6,})((?:-mask)?)", re.DOTALL)


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
    """Gives a name that was taken before in this run a number.

    Frames of a stream come in the order of their numbers, and for a year: it is enough to know the
    last of them.
    """

    def __init__(self) -> None:
        self._taken: set[Path] = set()
        self._last: dict[Path, int] = {}

    def take(self, path: Path, identity: FrameId) -> Path:
        """A free name.

        Args:
            path: the one that is wanted, made of `file_name(identity)`.
        """
        number, free = 2, path
        while self._is_taken(free):
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
            number += 1
        series = _series(free)
        if series is not None and is_numbered(identity):
            self._last[series[0]] = identity.index
        else:
            self._taken.add(free)
        return free

    def _is_taken(self, path: Path) -> bool:
        series = _series(path)
        if series is not None and series[1] <= self._last.get(series[0], -1):
            return True
        return path in self._taken


def _series(path: Path) -> tuple[Path, int] | None:
    """What the names of all frames of a stream have in common, and the number of this one."""
    found = _NUMBERED.fullmatch(path.stem)
    if found is None:
        return None
    return path.with_name(f"{found[1]}{found[3]}{path.suffix}"), int(found[2])


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
        path = self._names.take(self._folder / file_name(frame.id), frame.id)
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


def is_numbered(identity: FrameId) -> bool:
    """Whether it is one of several frames."""
    return identity.media_time_ns is not None or identity.index > 0


def file_name(identity: FrameId) -> Path:
    """A relative path for a frame, inside the folder whatever the stream is called."""
    plain = identity.stream.partition("://")[2] or identity.stream
    parts = [part for part in PurePosixPath(plain).parts if part not in ("/", "..")]
    path = Path(*(part.replace(":", "-") for part in parts)) if parts else Path("frame")
    is_picture = path.suffix.lower() in WRITTEN_SUFFIXES
    if not is_numbered(identity):
        return path if is_picture else path.with_name(f"{path.stem}.png")
    suffix = path.suffix if is_picture else ".jpg"
    return path.with_name(f"{path.stem}-{identity.index:06d}{suffix}")
