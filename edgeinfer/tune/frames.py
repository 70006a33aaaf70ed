"""The frames that every candidate gets, written once for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import SinkError, SourceError
from edgeinfer.frames import Array, Arrays, Frame
from edgeinfer.records import dataclass
from edgeinfer.spec import ModelSpec, TensorSpec

_MOST_FRAMES = 12
_MOST_BYTES = 256 << 20
# Neighbouring frames of a video show the same; every so many-th is taken.
_VIDEO_STRIDE = 15
_MADE_WH = (1280, 720)


@dataclass(frozen=True)
class Material:
    """What the candidates are measured and compared on.

    Attributes:
        folder: where the frames lie.
        count: how many.
        origin: for people.
        real: whether the user gave them: only then can they hold what the model looks for.
    """

    folder: Path
    count: int
    origin: str
    real: bool


def material(
    folder: Path,
    sources: Sequence[str],
    validation: str | None,
    pictures: bool,
    inputs: tuple[TensorSpec, ...],
    given: tuple[TensorSpec, ...] = (),
) -> Material:
    """Write frames of the sources, of each as many, else of the labelled data, else made-up ones.

    Args:
        pictures: whether made-up frames are pictures.
        inputs: every input in full, to make frames up. given: those that a frame of a file brings.

    Raises:
        SourceError: if a source or the labelled data give nothing.
        SinkError: if there is no room for them.
    """
    if sources:
        from edgeinfer.sources.public import public_source

        count = _write(folder, _from_sources(sources, given))
        return Material(folder, count, ", ".join(map(public_source, sources)), True)
    if validation is not None:
        from edgeinfer.datasets import open_dataset
        from edgeinfer.evaluate import fed

        samples = open_dataset(validation)
        plain = ModelSpec("tensor", "tensor")
        count = _write(folder, (fed(sample.picture, inputs, plain) for sample in samples))
        # A user's own metric brings its data along and shows none.
        if count:
            return Material(folder, count, validation, True)
    from edgeinfer.sources import RandomArrays
    from edgeinfer.sources.synthetic import Synthetic

    made: Iterator[Frame] = Synthetic(_MADE_WH) if pictures else RandomArrays(inputs)
    count = _write(folder, (next(made).data for _ in range(4)))
    return Material(folder, count, "made-up frames", False)


def _from_sources(
    sources: Sequence[str], given: tuple[TensorSpec, ...]
) -> Iterator[Array | Arrays]:
    """Frames of each in turn; more sources than frames are wanted give one each."""
    from edgeinfer.sources.public import public_source

    each = max(1, _MOST_FRAMES // len(sources))
    for text in sources:
        frames = list(itertools.islice(_from_source(text, given), each))
        if not frames:
            raise SourceError(
                f"No frame came from {public_source(text)}: give pictures or a video."
            )
        yield from frames


def _from_source(text: str, given: tuple[TensorSpec, ...]) -> Iterator[Array | Arrays]:
    from edgeinfer.sniff import kind_of_file
    from edgeinfer.sources import open_source

    path = Path(text)
    video = path.is_file() and kind_of_file(path) == "video"
    source = open_source(text, stride=_VIDEO_STRIDE if video else 1, inputs=given)
    try:
        for frame in source:
            yield frame.data
    finally:
        source.close()


def _write(folder: Path, frames: Iterator[Array | Arrays]) -> int:
    count = size = 0
    for data in frames:
        try:
            size += _keep(folder / str(count), data)
        except OSError as error:  # numpy's own, which says how much was written, has no number
            raise SinkError(
                f"The frames to compare on cannot be kept in {folder.parent}: "
                f"{error.strerror or error}. Make room there, or name another folder in TMPDIR."
            ) from error
        count += 1
        if count >= _MOST_FRAMES or size >= _MOST_BYTES:
            break
    return count


def _keep(path: Path, data: Array | Arrays) -> int:
    """Write one frame; returns its bytes."""
    if isinstance(data, Mapping):
        np.savez(path.with_suffix(".npz"), **_numbered(data))
        return sum(array.nbytes for array in data.values())
    np.save(path.with_suffix(".npy"), data)
    return data.nbytes


def _numbered(arrays: Arrays) -> dict[str, Any]:
    """Names of inputs may be no names of files: they go beside the arrays."""
    numbered: dict[str, Any] = {f"a{at}": array for at, array in enumerate(arrays.values())}
    return {**numbered, "names": np.array(list(arrays))}


def read_frames(folder: Path) -> list[Array | Arrays]:
    """The frames of a folder, in order; pictures are mapped, not read."""
    frames: list[Array | Arrays] = []
    while True:
        picture, arrays = folder / f"{len(frames)}.npy", folder / f"{len(frames)}.npz"
        if picture.exists():
            frames.append(np.load(picture, mmap_mode="r"))
        elif arrays.exists():
            with np.load(arrays) as held:
                names = [str(name) for name in held["names"]]
                frames.append({name: held[f"a{at}"] for at, name in enumerate(names)})
        else:
            return frames
