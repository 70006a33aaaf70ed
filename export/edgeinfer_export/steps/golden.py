"""Make the golden vectors of a file: a few inputs, and what the file answers to them here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeinfer.datasets import read_picture
from edgeinfer.errors import InputError, SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.golden import Golden, Sample, tolerance_of, within_bounds
from edgeinfer.golden.vectors import MAX_BYTES, thinned
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, Model, open_model, why_unfit
from edgeinfer.packages import opencv
from edgeinfer.preprocess import preprocess
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer_export.quantize.calibration import Calibration, PictureCalibration
from edgeinfer_export.steps.verify import sample_numbers

_MOST_PICTURES = 3
_MOST_ARRAYS = 4
# Pictures of no model's size, so that resizing is checked too, and small enough to travel.
_LONGEST_SIDE = 480
_SYNTHETIC_HW = ((270, 480), (400, 300))


def golden_vectors(
    path: Path, spec: ModelSpec, data: Calibration, sha256: str
) -> tuple[Golden | None, tuple[str, ...]]:
    """Run a file on the CPU and keep what it answers.

    Args:
        path: a file that this box opens, whatever kind of box the vectors are for.
        spec: of the file that they are for.
        data: what calibration and comparison feed.
        sha256: of the file that they are for.

    Returns:
        The vectors, and what people must know; None with the reason where there are none.
    """
    if spec.target == "x86-vnni" and why_unfit(spec.target, "cpu", this_machine()) is not None:
        return None, (
            "golden vectors were left out: this box has no VNNI, so what it computes is not what "
            "the model's boxes should; export on one that has it",
        )
    options = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    try:
        with open_model(path, options) as model:
            pictures, kind = _pictures(spec, data)
            made = _of_pictures(model, pictures) if pictures else _of_arrays(model, data)
            samples = within_bounds(list(made))
            reference = model.served.provider_impl
    except (InputError, SpecError) as error:
        return None, (f"golden vectors were left out: {error}",)
    if not samples:
        limit = MAX_BYTES >> 20
        return None, (f"golden vectors were left out: one input takes more than {limit} MiB",)
    tolerance = tolerance_of(spec.precision)
    found = Golden(
        model_sha256=sha256,
        precision=spec.precision,
        reference=reference,
        tolerances=dict.fromkeys(samples[0].outputs, tolerance),
        kind=kind,
        samples=tuple(samples),
    )
    if kind != "pictures":
        return found, ()
    return found, (
        f"the golden vectors hold {len(samples)} of the calibration pictures, made smaller: leave "
        f"them out with --no-golden where pictures must not travel",
    )


def _pictures(spec: ModelSpec, data: Calibration) -> tuple[list[Array], str]:
    """Pictures to begin with; none where the model takes arrays."""
    if isinstance(data, PictureCalibration):
        chosen = sample_numbers(len(data), _MOST_PICTURES)
        return [_smaller(read_picture(data.paths[index])) for index in chosen], "pictures"
    alone = len(spec.inputs) == 1 and spec.inputs[0].kind == "image"
    if alone and data.kind == "random":
        return [_synthetic(hw) for hw in _sizes(spec.inputs[0])], "synthetic"
    return [], data.kind


def _sizes(spec: InputSpec) -> tuple[tuple[int, int], ...]:
    """Sizes of synthetic pictures: any, unless the model's rule is not to resize."""
    if spec.resize != "none":
        return _SYNTHETIC_HW
    return () if spec.size_hw is None else (spec.size_hw,)


def _smaller(picture: Array) -> Array:
    height, width = picture.shape[:2]
    factor = _LONGEST_SIDE / max(height, width)
    if factor >= 1:
        return picture
    cv2 = opencv()
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    found: Array = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return found


def _synthetic(size_hw: tuple[int, int]) -> Array:
    """`(H, W, 3)` uint8: ramps of every level, and checks with hard edges; the same everywhere."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    ramps = np.stack((x * 256 // size_hw[1], y * 256 // size_hw[0], (x + y) % 256), axis=-1)
    checks = ((x // 31 + y // 17) % 3 == 0)[..., None]
    return np.where(checks, 255 - ramps, ramps).astype(np.uint8)


def _of_pictures(model: Model, pictures: list[Array]) -> Iterator[Sample]:
    picture = next(item for item in model.spec.inputs if item.kind == "image")
    for pixels in pictures:
        array, _ = preprocess(pixels, picture)
        yield _sample(model, {picture.name: array}, pixels)


def _of_arrays(model: Model, data: Calibration) -> Iterator[Sample]:
    for index in sample_numbers(len(data), _MOST_ARRAYS):
        yield _sample(model, data.inputs(index), None)


def _sample(model: Model, inputs: Arrays, picture: Array | None) -> Sample:
    outputs = {
        name: array for name, array in model.raw(dict(inputs)).items() if array.dtype.kind in "fiub"
    }
    value = model(dict(inputs) if picture is None else picture).value
    kept = {name: thinned(array) for name, array in outputs.items()}
    return Sample(
        inputs=dict(inputs),
        outputs={name: values.copy() for name, (values, _) in kept.items()},
        shapes={name: array.shape for name, array in outputs.items()},
        strides={name: stride for name, (_, stride) in kept.items()},
        picture=picture,
        # What has no things with scores is judged by the raw outputs alone.
        result={} if model.spec.task == "tensor" else value.to_dict(),
    )
