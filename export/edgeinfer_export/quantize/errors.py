"""How far a narrowed graph's tensors are from the float graph's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.taps import Taps

if TYPE_CHECKING:
    import onnx

# Fields of a head (coordinates, classes) lie on axis 1; more places than this are no fields.
_MOST_FIELDS = 256


class OutputError:
    """Compares the outputs of graphs with those of a float graph, on the same samples."""

    def __init__(self, model: onnx.ModelProto, calibration: Calibration, numbers: Sequence[int]):
        """Run the float graph.

        Args:
            numbers: of the samples.
        """
        self.names = tuple(value.name for value in model.graph.output)
        self._inputs = [calibration.inputs(number) for number in numbers]
        taps = Taps(model, self.names)
        self._wanted = [dict(taps.run(inputs)) for inputs in self._inputs]

    def of(self, model: onnx.ModelProto) -> float:
        """Mean over the outputs' fields of the error's length as a share of the signal's.

        Each field (a coordinate, a class) counts by itself: pixels would drown probabilities.
        """
        taps = Taps(model, self.names)
        noise: dict[str, Array] = {}
        signal: dict[str, Array] = {}
        for inputs, wanted in zip(self._inputs, self._wanted, strict=True):
            for name, got in taps.run(inputs):
                if wanted[name].dtype.kind != "f" or wanted[name].shape != got.shape:
                    continue
                a, b = _fields(wanted[name]), _fields(got)
                noise[name] = noise.get(name, 0.0) + np.sum((a - b) ** 2, axis=1)
                signal[name] = signal.get(name, 0.0) + np.sum(a**2, axis=1)
        shares = [
            float(np.mean(np.sqrt(noise[name] / np.maximum(signal[name], 1e-20)).clip(0, 10)))
            for name in noise
        ]
        return float(np.mean(shares)) if shares else math.nan


def noise_shares(
    model: onnx.ModelProto,
    other: onnx.ModelProto,
    names: Iterable[str],
    samples: Iterable[Mapping[str, Array]],
) -> dict[str, float]:
    """Power of the noise over power of the signal, for tensors that both graphs have."""
    there = {name for node in other.graph.node for name in node.output}
    common = [name for name in names if name in there]
    first, second = Taps(model, common), Taps(other, common)
    noise, signal = dict.fromkeys(common, 0.0), dict.fromkeys(common, 0.0)
    for inputs in samples:
        for (name, a), (_, b) in zip(first.run(inputs), second.run(inputs), strict=True):
            if a.dtype.kind == "f" and a.shape == b.shape:
                wide = a.astype(np.float64)
                noise[name] += float(np.sum((wide - b) ** 2))
                signal[name] += float(np.sum(wide**2))
    return {name: noise[name] / signal[name] for name in common if signal[name] > 0}


def decibels(share: float) -> float:
    """A share of noise as a ratio of signal to noise."""
    return 10 * math.log10(1 / share) if share > 0 else math.inf


def _fields(values: Array) -> Array:
    wide = np.asarray(values, np.float64)
    if wide.ndim >= 2 and wide.shape[1] <= _MOST_FIELDS:
        wide = np.moveaxis(wide, 1, 0)
        return wide.reshape(len(wide), -1)
    return wide.reshape(1, -1)
