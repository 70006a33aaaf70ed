"""What the measurements share: a folder, models, videos, fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.machine import usable_cpus
from edgeinfer.packages import opencv
from edgeinfer_bench.models import mobilenet_v2_like, yolov8n_like

# Long enough for a loaded box, short enough that a hang ends.
_TIMEOUT_S = 900


@dataclass(frozen=True)
class Context:
    """Where and how thoroughly to measure.

    Attributes:
        folder: for models, videos and caches; everything in it can be made again.
        effort: multiplies every number of rounds; below 1 only to try the script itself.
        say: told what is being measured.
        notes: what the report shall say besides, such as what cannot be measured here and why.
    """

    folder: Path
    effort: float
    say: Callable[[str], None]
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say it now, and in the report."""
        self.say(text)
        self.notes.append(text)

    @property
    def threads(self) -> int:
        """As many as the box grants."""
        return usable_cpus()

    def rounds(self, wanted: int, least: int = 3) -> int:
        """So many rounds, by the effort."""
        return max(least, round(wanted * self.effort))

    def detector(self) -> Path:
        return yolov8n_like(self.folder)

    def classifier(self) -> Path:
        return mobilenet_v2_like(self.folder)

    def video(self, frames: int, size_wh: tuple[int, int]) -> Path:
        """An MP4 of moving shapes, made once."""
        path = self.folder / f"video-{frames}-{size_wh[0]}x{size_wh[1]}.mp4"
        if not path.exists():
            self.say(f"making a video of {frames} frames")
            _write_video(path, frames, size_wh)
        return path


def _write_video(path: Path, frames: int, size_wh: tuple[int, int]) -> None:
    from edgeinfer.sources import open_source

    cv2 = opencv()
    temp = path.with_name("unfinished-" + path.name)
    writer = cv2.VideoWriter(str(temp), cv2.VideoWriter_fourcc(*"mp4v"), 30, size_wh)
    if not writer.isOpened():
        raise EdgeInferError("This OpenCV cannot write MP4; install opencv-python-headless.")
    width, height = size_wh
    source = open_source(f"synthetic:{width}x{height}")
    for index in range(frames):
        picture = np.array(next(source).data)
        # Detail that moves, so that decoding costs what it costs on a real scene.
        picture = np.roll(picture, (index * 3) % width, axis=1)
        writer.write(picture)
    writer.release()
    source.close()
    temp.replace(path)


def environment() -> dict[str, str]:
    """Variables of a fresh process that finds the same packages as this one."""
    roots = [path for path in sys.path if path and Path(path).is_dir()]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "PYTHONNOUSERSITE": "1"}
    # An installed package comes compiled; a working tree must be allowed to keep its own.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


def fresh(
    arguments: Sequence[str], folder: Path, variables: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Run this interpreter anew, with such variables more, and return what it prints.

    Not through `edgeinfer.child`: what an interpreter without edgeinfer costs is the question.

    Raises:
        EdgeInferError: if it fails, with the last thing that it said.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise EdgeInferError(f"A measured process failed ({done.returncode}): {said[0]}")
    return done.stdout
