"""Which path means which sink."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgeinfer.errors import UsageError
from edgeinfer.sinks.base import Sink
from edgeinfer.sinks.pictures import WRITTEN_SUFFIXES, PictureFile, PictureFolder
from edgeinfer.sinks.video import CONTAINERS, VideoFile

# Pictures have no clock; a slide a second can be looked at.
_SLIDES_FPS = 1.0
_DEFAULT_FPS = 25.0


class Origin(Protocol):
    """What is known of the source (`edgeinfer.sources.SourceInfo` is one)."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def frame_count(self) -> int | None: ...
    @property
    def fps(self) -> float | None: ...
    @property
    def size_wh(self) -> tuple[int, int] | None: ...


def open_sink(path: Path, info: Origin, frames: int | None = None) -> Sink:
    """Open the sink for annotated pictures or an annotated video.

    Args:
        path: a picture (one frame), a video (``.mp4``, ``.mkv``, ``.avi``), or a folder.
        info: of the source.
        frames: how many are taken of it at most; None for all.

    Raises:
        UsageError: for an unknown ending, or one that does not fit the source.
        SinkError: if nothing can be created there.
    """
    if info.kind == "arrays" and info.size_wh is None:
        raise UsageError(
            f"{info.name} holds tensors, no pictures: there is nothing to draw on. Leave --output "
            f"out and write the results with --json FILE."
        )
    suffix = path.suffix.lower()
    if path.is_dir() or not suffix:
        return PictureFolder(path)
    if suffix in CONTAINERS:
        if info.frame_count == 1 and info.kind != "video":
            raise UsageError(
                f"{info.name} is one picture, and {path} is a video. Write a picture: "
                f"--output {path.with_suffix('.jpg')}"
            )
        slides = info.kind in ("pictures", "arrays")
        return VideoFile(path, info.fps or (_SLIDES_FPS if slides else _DEFAULT_FPS))
    if suffix in WRITTEN_SUFFIXES:
        if info.frame_count != 1 and frames != 1:
            many = "many frames" if info.frame_count is None else f"{info.frame_count} frames"
            raise UsageError(
                f"From {info.name} come {many}, and {path} holds one. Name a folder "
                f"(--output {path.with_suffix('')}) or a video (--output "
                f"{path.with_suffix('.mp4')})."
            )
        return PictureFile(path)
    known = ", ".join(sorted((*CONTAINERS, *WRITTEN_SUFFIXES)))
    raise UsageError(
        f"The ending '{path.suffix}' of {path} is unknown. Known: {known}, or a folder (no ending)."
    )
