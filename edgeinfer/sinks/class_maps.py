"""Class maps of semantic segmentation, as pictures whose values are class numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edgeinfer.errors import EdgeInferError
from edgeinfer.files import check_writable
from edgeinfer.frames import Frame
from edgeinfer.results import ClassMap, Payload, Result
from edgeinfer.sinks.pictures import WRITTEN_SUFFIXES, FreeNames, file_name, write_picture
from edgeinfer.sinks.video import CONTAINERS


class ClassMaps:
    """Writes a PNG (8 bits, 16 for more than 256 classes) for each frame, named as its picture.

    They lie beside the annotated pictures as ``NAME-mask.png``; beside a video in a folder
    ``NAME-masks``.

    Args:
        output: where the annotated pictures go: a picture, a video, or a folder.
    """

    needs_pixels = False

    def __init__(self, output: Path) -> None:
        suffix = output.suffix.lower()
        self._single = mask_beside(output) if suffix in WRITTEN_SUFFIXES else None
        self._folder = output
        if suffix in CONTAINERS and not output.is_dir():
            self._folder = output.with_name(f"{output.stem}-masks")
        self._names = FreeNames()
        if self._single is not None:
            check_writable(self._single)

    def write(self, result: Result[Payload], frame: Frame | None, /) -> Result[Payload] | None:
        """Write the map and give the result back with the file's name in it.

        Raises:
            SinkError: if it cannot be written.
        """
        value = result.value
        if not isinstance(value, ClassMap):
            return None
        path = self._single
        if path is None:
            named = self._folder / file_name(result.frame)
            path = self._names.take(named.with_name(f"{named.stem}-mask.png"), result.frame)
            path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, value.class_ids)
        return dataclasses.replace(result, value=dataclasses.replace(value, file=str(path)))

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        """Nothing: there is no map."""

    def close(self, *, complete: bool) -> None:
        """Nothing: each map is whole once written."""


def mask_beside(picture: Path) -> Path:
    """Where the class map of one annotated picture goes."""
    return picture.with_name(f"{picture.stem}-mask.png")
