"""Inputs that a model is likely to see: ranges for INT8 are measured on them, one at a time."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from edgeinfer.datasets import pictures_in, read_picture
from edgeinfer.errors import SourceError, SpecError, UsageError, suggest
from edgeinfer.frames import Array
from edgeinfer.preprocess import preprocess
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

# Ranges hardly move after a few hundred pictures, while the time grows with every one.
MAX_SAMPLES = 500


class Samples(Protocol):
    """Inputs by number; each is made when it is asked for, so memory stays bounded."""

    @property
    def kind(self) -> str:
        """``pictures``, ``arrays`` or ``random``."""

    def __len__(self) -> int: ...

    def inputs(self, index: int) -> dict[str, Array]: ...


class Calibration(Samples, Protocol):
    """Samples that ranges may be measured on."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def digest(self) -> str:
        """Stands for everything that the inputs depend on."""


@dataclass(frozen=True)
class PictureCalibration:
    """Pictures of a folder, prepared as the model's spec says.

    Attributes:
        paths: picture files.
        spec: the input that they go to.
        batch: the model's fixed batch size; every place in it gets the same picture.
    """

    paths: tuple[Path, ...]
    spec: InputSpec
    batch: int = 1
    notes: tuple[str, ...] = ()
    kind: str = "pictures"

    def __len__(self) -> int:
        return len(self.paths)

    def inputs(self, index: int) -> dict[str, Array]:
        """One picture as the model's input.

        Raises:
            SourceError: if it cannot be read.
        """
        array, _ = preprocess(read_picture(self.paths[index]), self.spec)
        return {self.spec.name: np.repeat(array, self.batch, axis=0) if self.batch > 1 else array}

    def digest(self) -> str:
        found = hashlib.sha256(repr((self.spec, self.batch)).encode())
        try:
            for path in self.paths:
                found.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise SourceError(
                f"The picture {error.filename} cannot be read: {error.strerror}."
            ) from error
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class ArrayCalibration:
    """Arrays whose first axis runs over samples.

    Attributes:
        arrays: input name to `(N, ...)`; to `(N,)` for an input that is a single number.
        lengths: how many places of the first axis one sample takes: an input of fixed length 4
            takes 4; 0 stands for an input that is a single number.
        given: those of `arrays` that were rounded to the input's type, as they were before.
    """

    arrays: Mapping[str, Array]
    lengths: Mapping[str, int]
    notes: tuple[str, ...] = ()
    kind: str = "arrays"
    given: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return min(len(array) // (self.lengths[name] or 1) for name, array in self.arrays.items())

    def inputs(self, index: int) -> dict[str, Array]:
        """One sample, as views of the arrays."""
        return self._sample(self.arrays, index)

    def unrounded(self, index: int) -> dict[str, Array]:
        """One sample in the types of the file."""
        return self._sample({**self.arrays, **self.given}, index)

    def _sample(self, arrays: Mapping[str, Array], index: int) -> dict[str, Array]:
        return {
            name: array[index * length : (index + 1) * length]
            if (length := self.lengths[name])
            else np.asarray(array[index])
            for name, array in arrays.items()
        }

    def digest(self) -> str:
        found = hashlib.sha256(repr(sorted(self.lengths.items())).encode())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            found.update(repr((name, str(array.dtype), array.shape)).encode())
            found.update(array.tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class RandomInputs:
    """Noise, for comparing two files where nothing better was given; the same on every run."""

    tensors: tuple[TensorSpec, ...]
    spec: ModelSpec
    count: int = 4
    notes: tuple[str, ...] = ()
    kind: str = "random"

    def __len__(self) -> int:
        return self.count

    def inputs(self, index: int) -> dict[str, Array]:
        random = np.random.default_rng(index)
        pictures = {item.name: item for item in self.spec.inputs if item.kind == "image"}
        made: dict[str, Array] = {}
        for tensor in self.tensors:
            picture = pictures.get(tensor.name)
            shape = tuple(dim if isinstance(dim, int) and dim > 0 else 1 for dim in tensor.shape)
            if picture is not None and picture.size_hw is not None:
                noise = random.integers(0, 256, (*picture.size_hw, 3), np.uint8)
                made[tensor.name] = np.repeat(preprocess(noise, picture)[0], shape[0], axis=0)
            elif np.dtype(tensor.dtype).kind == "f":
                made[tensor.name] = random.standard_normal(shape).astype(tensor.dtype)
            else:
                made[tensor.name] = random.integers(0, 2, shape).astype(tensor.dtype)
        return made

    def digest(self) -> str:
        return hashlib.sha256(repr((self.tensors, self.spec, self.count)).encode()).hexdigest()


def open_calibration(
    path: Path, spec: ModelSpec, tensors: Sequence[TensorSpec]
) -> PictureCalibration | ArrayCalibration:
    """Open a folder of pictures (folders in it included) or an .npz file of inputs.

    Args:
        path: what the user gave.
        spec: what the model means.
        tensors: what its graph takes.

    Raises:
        SourceError: if it is missing, empty, unreadable or holds no pictures.
        SpecError: if pictures cannot become this model's input.
        UsageError: if the arrays are not the model's inputs.
    """
    if path.is_dir():
        return _open_pictures(path, spec, tensors)
    if not path.exists():
        raise SourceError(f"The calibration data {path} do not exist.")
    if path.suffix.lower() != ".npz":
        raise UsageError(
            f"Calibration data are a folder of pictures or an .npz file, not {path.name}."
        )
    return _open_arrays(path, tensors)


def _open_pictures(
    folder: Path, spec: ModelSpec, tensors: Sequence[TensorSpec]
) -> PictureCalibration:
    picture = next((item for item in spec.inputs if item.kind == "image"), None)
    if picture is None or len(tensors) != 1:
        names = ", ".join(tensor.name for tensor in tensors)
        raise SpecError(
            f"Pictures cannot become the inputs of this model ({names}): give an .npz file with "
            f"one array per input, samples along the first axis."
        )
    paths = pictures_in(folder, deep=True)
    if not paths:
        raise SourceError(
            f"The calibration folder {folder} holds no pictures: give 50 to 500 typical ones."
        )
    notes: tuple[str, ...] = ()
    if len(paths) > MAX_SAMPLES:
        # Evenly over the sorted names, so that every folder and every scene is met.
        chosen = np.linspace(0, len(paths) - 1, MAX_SAMPLES).round().astype(int)
        notes = (f"calibrated on {MAX_SAMPLES} of {len(paths)} pictures, evenly chosen",)
        paths = [paths[index] for index in chosen]
    return PictureCalibration(tuple(paths), picture, _batch(tensors[0]), notes)


def _open_arrays(path: Path, tensors: Sequence[TensorSpec]) -> ArrayCalibration:
    try:
        # np.load leaves a file open that it cannot read, unless somebody else owns it.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a single array, a .npy file")
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} cannot be read as an .npz file of numbers: {error}.") from error
    if len(tensors) == 1 and len(arrays) == 1:
        arrays = {tensors[0].name: next(iter(arrays.values()))}
    known = [tensor.name for tensor in tensors]
    for name in arrays:
        if name not in known:
            raise UsageError(f"The model has no input '{name}' ({path}). {suggest(name, known)}")
    fitted: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name not in arrays:
            raise UsageError(f"{path} lacks the model's input '{tensor.name}'.")
        fitted[tensor.name] = _fitted(path, arrays[tensor.name], tensor)
    lengths = {tensor.name: _batch(tensor) if tensor.shape else 0 for tensor in tensors}
    counts = {name: len(array) // (lengths[name] or 1) for name, array in fitted.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UsageError(
            f"The arrays of {path} hold different numbers of samples ({told}): give each input one "
            f"for every sample."
        )
    given = {name: arrays[name] for name in fitted if arrays[name].dtype != fitted[name].dtype}
    found = ArrayCalibration(fitted, lengths, given=given)
    if len(found) == 0:
        raise SourceError(f"{path} holds no samples: the first axis of its arrays is too short.")
    return found


def _fitted(path: Path, array: Array, tensor: TensorSpec) -> Array:
    """Check a sample's shape; floats of another width are converted."""
    wanted = tensor.shape[1:]
    fits = array.ndim == max(1, len(tensor.shape)) and all(
        not isinstance(dim, int) or dim == size
        for dim, size in zip(wanted, array.shape[1:], strict=True)
    )
    if not fits:
        raise UsageError(
            f"The array '{tensor.name}' of {path} is {list(array.shape)}; the model takes "
            f"{list(tensor.shape) or 'a single number'}, with samples along the first axis."
        )
    if array.dtype.kind == "f" and tensor.dtype.startswith("float"):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told
            array = array.astype(tensor.dtype, copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = int(np.argwhere(~np.isfinite(array))[0][0])
        raise SourceError(
            f"The array '{tensor.name}' of {path} holds values that are no numbers (NaN) or "
            f"infinite in {tensor.dtype}, first in row {first}: nothing can be measured on them. "
            f"Leave such samples out."
        )
    if str(array.dtype) == tensor.dtype:
        return array
    raise UsageError(
        f"The array '{tensor.name}' of {path} is {array.dtype}; the model takes {tensor.dtype}."
    )


def _batch(tensor: TensorSpec) -> int:
    """The fixed length of the first axis, 1 where it is free."""
    first = tensor.shape[0] if tensor.shape else 1
    return first if isinstance(first, int) and first > 0 else 1
