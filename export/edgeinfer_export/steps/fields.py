"""Does every field of an output still live? One scale for boxes and scores zeroes the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import CheckFailed
from edgeinfer.frames import Array
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.steps.verify import sample_numbers

_MAX_SAMPLES = 4
# Fields (coordinates, scores of classes) lie on one axis; more places than this are no fields.
_MOST_FIELDS = 256
# A score that never came further than this says nothing when it is gone.
_ALIVE = 0.05


class _Fields:
    """Extremes of one output over samples, by the places of one axis: `(fields,)` each."""

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.low: Array | None = None
        self.high: Array | None = None

    def add(self, values: Array) -> None:
        flat = np.moveaxis(np.asarray(values, np.float64), self._axis, 0)
        flat = flat.reshape(len(flat), -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)

    @property
    def spread(self) -> Array:
        assert self.low is not None and self.high is not None
        spread: Array = self.high - self.low
        return spread


def check_fields(source: Path, output: Path, inputs: Calibration) -> None:
    """Refuse a file in which a field is constant that moves in the source.

    A whole output that died is seen by `verify.parity`; here boxes may live on while their scores
    are all zero.

    Args:
        inputs: at most 4 of them are used.

    Raises:
        CheckFailed: naming output and fields.
    """
    first, second = Session(source), Session(output)
    seen: dict[tuple[str, int], tuple[_Fields, _Fields]] = {}
    for number in sample_numbers(len(inputs), _MAX_SAMPLES):
        fed = inputs.inputs(number)
        wanted, got = first.run(fed), second.run(fed)
        for name, values in wanted.items():
            if name not in got or got[name].shape != values.shape or not values.size:
                continue
            for axis in _field_axes(values):
                pair = seen.setdefault((name, axis), (_Fields(axis), _Fields(axis)))
                pair[0].add(values)
                pair[1].add(got[name])
    for (name, axis), (before, after) in seen.items():
        if before.spread.shape != after.spread.shape:
            continue
        dead = np.flatnonzero((before.spread > _ALIVE) & (after.spread == 0))
        if dead.size:
            assert before.high is not None and after.high is not None
            raise CheckFailed(
                f"{dead.size} of {len(before.spread)} fields of the output '{name}' (axis {axis}: "
                f"{', '.join(str(int(at)) for at in dead[:6])}{', ...' if dead.size > 6 else ''}) "
                f"are always {after.high[dead[0]]:g} in the new file, while the source's reach "
                f"{before.high[dead].max():g}: it would see nothing. The file was not written. "
                f"Calibrate on typical data, or export with --precision fp16 or fp32."
            )


def _field_axes(values: Array) -> tuple[int, ...]:
    """Axes that may hold fields beside many places: `(N, fields, places)` or the other way."""
    if values.dtype.kind != "f" or values.ndim < 3:
        return ()
    return tuple(axis for axis in (1, values.ndim - 1) if 1 < values.shape[axis] <= _MOST_FIELDS)
