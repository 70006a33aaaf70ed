"""Arrays in files: `.npy` (pictures or one tensor) and `.npz` (one tensor for each input)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np

from edgeinfer.errors import SourceError
from edgeinfer.frames import Array, Arrays, Frame, FrameId
from edgeinfer.npz import first_line, read_npz
from edgeinfer.sniff import looks_like, read_head
from edgeinfer.sources.base import SourceInfo
from edgeinfer.spec import TensorSpec, of_shape
from edgeinfer.timing import now_ns


class ArrayFrames:
    """Frames that lie in arrays.

    Args:
        path: the file they come from.
        frames: a mapping of input name to array (the empty name: the model's only input), or a
            picture `(H, W, 3)` or `(H, W)` uint8.
        stride: every how many-th is given.
    """

    def __init__(self, path: Path, frames: Sequence[Array | Arrays] | Array, stride: int) -> None:
        self._path = path
        self._frames = frames
        self._turns = iter(range(0, len(frames), stride))
        first = frames[0]
        size = (first.shape[1], first.shape[0]) if isinstance(first, np.ndarray) else None
        count = len(range(0, len(frames), stride))
        self._info = SourceInfo(path.name, False, "arrays", count, None, size)

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        index = next(self._turns)
        start = now_ns()
        data = self._frames[index]
        if isinstance(data, np.ndarray):
            data = np.array(data)  # out of the mapped file, which somebody may change
        ready = now_ns()
        size = self._info.size_wh
        return Frame(
            FrameId(self._path.name, index, None, ready, size), data, {"capture": ready - start}
        )

    def close(self) -> None:
        self._turns = iter(range(0))
        self._frames = ()


def open_arrays(path: Path, stride: int, inputs: Sequence[TensorSpec] = ()) -> ArrayFrames:
    """Open an array file; nothing in it is ever unpickled.

    `.npy`: uint8 `(H, W, 3)` or `(H, W)` is one picture (BGR), uint8 `(N, H, W, 3)` is N of them,
    where the model may take pictures; anything else is for its only input. `.npz`: arrays named as
    the model's inputs. Those are one frame, or one for each row where they are stacks of what the
    inputs take.

    Args:
        inputs: what the model wants to be given, empty where that is unknown.

    Raises:
        SourceError: if it is broken, empty, or holds Python objects.
    """
    if path.suffix.lower() == ".npz":
        return ArrayFrames(path, _cut(_read_npz(path), inputs), stride)
    array = _read_npy(path)
    if len(inputs) == 1 and len(inputs[0].shape) < 4:  # whoever takes pictures has four dimensions
        return ArrayFrames(path, _cut({"": _native(np.array(array))}, inputs), stride)
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3:
        return ArrayFrames(path, array, stride)
    if array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        return ArrayFrames(path, [np.asarray(array)], stride)
    return ArrayFrames(path, _cut({"": _native(np.array(array))}, inputs), stride)


def _cut(arrays: Arrays, inputs: Sequence[TensorSpec]) -> list[Arrays]:
    """One frame, or one for each row: a recording of a sensor, the steps of a sequence.

    Arrays that fit an input as they are go with every frame.
    """
    wanted = {item.name: item for item in inputs}
    if len(inputs) == 1:
        wanted[""] = inputs[0]
    rows: dict[str, Array] = {}
    for name, array in arrays.items():
        stack = _stack(array, wanted[name].shape) if name in wanted else None
        if stack is not None:
            rows[name] = stack
    if len({len(stack) for stack in rows.values()}) != 1:
        return [arrays]
    count = len(next(iter(rows.values())))
    return [{**arrays, **{name: rows[name][at] for name in rows}} for at in range(count)]


def _stack(array: Array, shape: Sequence[int | str]) -> Array | None:
    """`(rows, *shape)` where an array is a stack of what an input takes, else None."""
    if array.ndim == 0:
        return None
    if of_shape(array.shape[1:], shape):
        return array
    if len(array) > 1 and shape[:1] == (1,) and of_shape(array.shape[1:], shape[1:]):
        return array[:, None]
    return None


def _native(array: Array) -> Array:
    """C order and this machine's byte order, whatever the writer's was."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)


def _broken(path: Path, error: Exception | str) -> SourceError:
    kind, words = looks_like(read_head(path))
    what = f" It is {words}." if kind != "array" and not words.startswith("a zip") else ""
    return SourceError(
        f"The array file {path} cannot be read: {error}.{what} Write it again with "
        f"numpy.save (.npy) or numpy.savez (.npz)."
    )


def _read_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError, TokenError) as error:
        raise _broken(path, first_line(error)) from error
    if not isinstance(array, np.ndarray):
        raise _broken(path, "it is an .npz with the ending of .npy")
    if array.size == 0:
        raise SourceError(f"The array in {path} is empty: its shape is {array.shape}.")
    return array


def _read_npz(path: Path) -> Arrays:
    try:
        read = read_npz(path)
    except ValueError as error:
        raise _broken(path, error) from error
    if not read:
        raise SourceError(f"{path} holds no array. Save one for each input of the model.")
    return {name: _native(array) for name, array in read.items()}
