"""Picture files: one, a folder of them, a glob."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgeinfer.errors import SourceError
from edgeinfer.frames import Frame, FrameId
from edgeinfer.pictures import read_picture
from edgeinfer.sniff import PICTURE_SUFFIXES
from edgeinfer.sources.base import SourceInfo
from edgeinfer.timing import now_ns


class Pictures:
    """A list of picture files, each a stream of one frame, read when its turn comes.

    Args:
        name: of the whole.
        files: stream name and path of each.
    """

    def __init__(self, name: str, files: Sequence[tuple[str, Path]]) -> None:
        self._files = iter(files)
        self._info = SourceInfo(name, False, "pictures", len(files), None, None)

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        # The turn is taken before the file is read, so that the call after an error goes on.
        stream, path = next(self._files)
        start = now_ns()
        try:
            picture, flags = read_picture(path)
        except SourceError as error:
            error.stream, error.index = stream, 0
            raise
        ready = now_ns()
        size = (picture.shape[1], picture.shape[0])
        return Frame(
            FrameId(stream, 0, None, ready, size, flags), picture, {"capture": ready - start}
        )

    def close(self) -> None:
        self._files = iter(())


def open_pictures(text: str, stride: int) -> Pictures:
    """Open a picture, a folder or a glob.

    A folder gives the pictures at its top, in natural order (2 before 10); only where there are
    none there, those in the folders below (a folder per class, say). What is in a folder and is
    no picture by its ending is passed over; a broken picture raises at its turn.

    Raises:
        SourceError: if there is no picture.
    """
    path = Path(text)
    if path.is_dir():
        files = _in_folder(path)
        name = path.resolve().name
    elif path.exists():
        files = [(path.name, path)]
        name = path.name
    else:
        files = _matching(text)
        name = text
    return Pictures(name, files[::stride])


def natural_key(text: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts ``frame2`` before ``frame10``."""
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    numbers = [int(part) if part[0] in "0123456789" else None for part in parts]
    return [
        (number is None, number or 0, part) for number, part in zip(numbers, parts, strict=True)
    ]


def _pictures_among(paths: Iterable[Path], base: Path) -> list[tuple[str, Path]]:
    named = [
        (os.path.relpath(path, base), path)
        for path in paths
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    return sorted(named, key=lambda item: natural_key(item[0]))


def _in_folder(folder: Path) -> list[tuple[str, Path]]:
    try:
        files = _pictures_among(folder.iterdir(), folder)
        files = files or _pictures_among(folder.rglob("*"), folder)
    except OSError as error:
        raise SourceError(
            f"The folder {folder} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    if not files:
        raise SourceError(
            f"The folder {folder} holds no picture (looked for {_known()}, in the folders below, "
            f"too). Give a folder of pictures, or a video file by its name."
        )
    return files


def _matching(pattern: str) -> list[tuple[str, Path]]:
    found = [Path(match) for match in glob.glob(pattern, recursive=True)]
    parts = Path(pattern).parts
    fixed = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    files = _pictures_among(found, Path(*parts[:fixed]))
    if not found:
        raise SourceError(
            f"Nothing matches {pattern}. Check the pattern; quote it so that the shell leaves it "
            f"alone, and write ** for folders of any depth."
        )
    if not files:
        raise SourceError(
            f"{pattern} matches {len(found)} item(s), none of them a picture by its ending "
            f"({_known()}). Name videos and arrays one by one."
        )
    return files


def _known() -> str:
    return ", ".join(sorted(PICTURE_SUFFIXES))
