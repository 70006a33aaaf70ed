"""What is odd about calibration data, with numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeinfer.datasets import Dataset, read_picture
from edgeinfer.frames import Array
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.results import Classes, Detections
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer_export.quantize.calibration import ArrayCalibration, Calibration, PictureCalibration
from edgeinfer_export.steps.verify import sample_numbers

_FEW = 32
_LOOKED_AT = 64
_COLOUR_SAMPLES = 8
# Mean difference of two pictures' thumbnails, in grey levels of 255.
_ALIKE = 2.0
# Standard deviations between the mean brightness (or colour) of two sets.
_APART = 3.0
_THUMB = 16
# A model that is sure of nothing says nothing about colours.
_SURE = 0.5


@dataclass(frozen=True, eq=False)
class _Look:
    """Pictures as thumbnails: `(N, 16, 16, 3)` float32 in [0, 255], and hashes of their pixels."""

    thumbs: NDArray[np.float32]
    hashes: tuple[str, ...]


def lint(
    samples: Calibration, spec: ModelSpec, source: Path, dataset: Dataset | None
) -> tuple[str, ...]:
    """Look at calibration data.

    Args:
        samples: as opened.
        source: an FP32 file with its spec, to see whether swapped colours make it surer.
        dataset: the validation data, if there are any.

    Returns:
        What a user should know, for people.
    """
    notes: list[str] = []
    if len(samples) < _FEW:
        notes.append(
            f"only {len(samples)} calibration samples: ranges of rare activations are missed; "
            f"50 to 500 typical ones are usual"
        )
    if isinstance(samples, ArrayCalibration):
        notes += _array_range(samples, spec)
    if isinstance(samples, PictureCalibration):
        look = _look(read_picture(path) for path in _some(samples.paths))
        notes += _alike(look)
        notes += _colours(samples, source, spec)
        if dataset is not None:
            notes += _beside(samples, look, dataset)
    return tuple(notes)


def _alike(look: _Look) -> Iterator[str]:
    count = len(look.hashes)
    distinct = len(set(look.hashes))
    if distinct < count:
        yield (
            f"{count - distinct} of {count} calibration pictures are exact copies of others: they "
            f"add nothing"
        )
    if count > 1:
        spread = float(np.abs(look.thumbs - look.thumbs.mean(axis=0)).mean())
        if spread < _ALIKE:
            yield (
                f"the calibration pictures are all alike ({spread:.1f} of 255 grey levels apart on "
                f"average): take them from different scenes, times and light"
            )


def _beside(samples: PictureCalibration, look: _Look, dataset: Dataset) -> Iterator[str]:
    """Leaking into the validation data, or far away from them."""
    every = {_hash(read_picture(path)) for path in samples.paths}
    thumbs: list[NDArray[np.float32]] = []
    leaked = count = 0
    for sample in dataset:
        picture = getattr(sample, "picture", None)
        if picture is None:
            return
        count += 1
        leaked += _hash(picture) in every
        if len(thumbs) < _LOOKED_AT:
            thumbs.append(_thumb(picture))
    if leaked:
        yield (
            f"{leaked} of {count} validation pictures are calibration pictures too: the metric "
            f"after quantizing is flattered; keep the two apart"
        )
    if not thumbs:  # a user's metric shows no samples
        return
    ours, theirs = look.thumbs.mean(axis=(1, 2)), np.stack(thumbs).mean(axis=(1, 2))
    spread = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / 2) + 1.0
    apart = float(np.max(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / spread))
    if apart > _APART:
        yield (
            f"calibration and validation pictures differ in brightness or colour by {apart:.1f} "
            f"standard deviations (mean {ours.mean():.0f} against {theirs.mean():.0f} of 255): "
            f"ranges measured on the first do not fit the second"
        )


def _array_range(samples: ArrayCalibration, spec: ModelSpec) -> Iterator[str]:
    """Whether arrays for a picture input lie where preprocessed pictures do."""
    for item in spec.inputs:
        if item.kind != "image" or item.name not in samples.arrays:
            continue
        low, high = fed_range(item)
        values = samples.arrays[item.name]
        seen_low, seen_high = float(values.min()), float(values.max())
        width = high - low
        if (
            seen_high - seen_low < width / 8
            or seen_low < low - width / 4
            or (seen_high > high + width / 4)
        ):
            yield (
                f"the calibration arrays of '{item.name}' run from {seen_low:.3g} to "
                f"{seen_high:.3g}, while pictures fed by this model's spec run from {low:.3g} to "
                f"{high:.3g}: they were scaled in another way, and so would the ranges be"
            )


def fed_range(item: InputSpec) -> tuple[float, float]:
    """The smallest and the largest value that a pixel can become."""
    channels = max(len(item.mean), len(item.std), 1)
    ends = []
    for at in range(channels):
        mean, std = item.mean[min(at, len(item.mean) - 1)], item.std[min(at, len(item.std) - 1)]
        ends += [(0 - mean) / std, (255 * item.scale - mean) / std]
    return min(ends), max(ends)


def _colours(samples: PictureCalibration, source: Path, spec: ModelSpec) -> Iterator[str]:
    """Whether the source is much surer of pictures whose red and blue are swapped."""
    if spec.task not in ("detect", "classify") or samples.spec.color not in ("rgb", "bgr"):
        return
    paths = _some(samples.paths, _COLOUR_SAMPLES)
    options = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    with open_model(source, options) as model:
        plain = [_surety(model, read_picture(path)) for path in paths]
        swapped = [
            _surety(model, np.ascontiguousarray(read_picture(path)[..., ::-1])) for path in paths
        ]
    gain = np.array(swapped) - np.array(plain)
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else np.inf
    sure = float(np.mean(swapped)) > _SURE
    if sure and gain.mean() > max(3 * error, 0.1 * float(np.mean(plain))):
        other = "bgr" if samples.spec.color == "rgb" else "rgb"
        yield (
            f"the model is surer of the calibration pictures with red and blue swapped (mean score "
            f"{np.mean(swapped):.2f} against {np.mean(plain):.2f}): either the pictures or the "
            f'spec\'s "color": "{samples.spec.color}" are wrong; try "{other}"'
        )


def _surety(model: Model, picture: Array) -> float:
    """The sum of the scores of what is seen; the best one of a classifier."""
    value = model(picture).value
    if isinstance(value, Classes):
        return float(value.scores[0]) if len(value) else 0.0
    return float(value.scores.sum()) if isinstance(value, Detections) else 0.0


def _some(paths: Sequence[Path], most: int = _LOOKED_AT) -> list[Path]:
    return [paths[at] for at in sample_numbers(len(paths), most)]


def _look(pictures: Iterator[Array]) -> _Look:
    thumbs, hashes = [], []
    for picture in pictures:
        thumbs.append(_thumb(picture))
        hashes.append(_hash(picture))
    return _Look(np.stack(thumbs), tuple(hashes))


def _thumb(picture: Array) -> NDArray[np.float32]:
    from edgeinfer.packages import opencv

    cv2 = opencv()
    colour = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    small = cv2.resize(colour, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _hash(picture: Array) -> str:
    """Of the pixels: the same picture in another file is the same picture."""
    found = hashlib.sha256(repr(picture.shape).encode())
    found.update(np.ascontiguousarray(picture).tobytes())
    return found.hexdigest()
