"""Watch a float model at work: what its tensors hold, sample by sample, resumable.

ONNX Runtime's histogram calibrators keep every tensor of every sample until the end. Here a sample
is forgotten as soon as it is counted, and what was counted is noted in the cache every few
seconds: a run that was killed goes on where the last note was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer import cache
from edgeinfer.frames import Array
from edgeinfer.providers import runtime_version
from edgeinfer.timing import now_ns
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.histogram import BINS, Histogram
from edgeinfer_export.quantize.taps import Taps, computed_floats

if TYPE_CHECKING:
    import onnx

Progress = Callable[[int, int], None]

_KIND = "calibration"
_LAYOUT = "2"
_EVERY_NS = 3_000_000_000
_MOST_NOTES = 32


@dataclass(eq=False)
class Seen:
    """One tensor over all samples.

    Attributes:
        histogram: its values.
        means: `(C,)` mean per channel, empty where it has no channels.
        peaks: `(C,)` largest magnitude per channel.
    """

    histogram: Histogram
    means: NDArray[np.float64]
    peaks: NDArray[np.float64]


@dataclass(eq=False)
class Observed:
    """A model over its calibration samples.

    Attributes:
        tensors: by name.
        samples: how many were counted.
        resumed: how many of them were counted by an earlier run.
    """

    tensors: dict[str, Seen]
    samples: int = 0
    resumed: int = 0


def observe(
    model: onnx.ModelProto, calibration: Calibration, progress: Progress | None = None
) -> Observed:
    """Run a model over samples and keep what its float tensors hold.

    Raises:
        ModelFileError: if the model cannot be run on them.
        SourceError: if a sample cannot be read.
    """
    names = computed_floats(model)
    channels = channel_axes(model)
    name = cache.key_of(_LAYOUT, runtime_version(), _digest(model), calibration.digest()) + ".npz"
    seen = _recall(name, names) or Observed({})
    total = len(calibration)
    if progress is not None and seen.samples:
        progress(seen.samples, total)
    if seen.samples >= total:
        return seen
    taps = Taps(model, names)
    noted_ns = now_ns()
    for index in range(seen.samples, total):
        for tensor, values in taps.run(calibration.inputs(index)):
            _count(seen, tensor, values, index, channels.get(tensor))
        seen.samples = index + 1
        if progress is not None:
            progress(seen.samples, total)
        if now_ns() - noted_ns > _EVERY_NS or seen.samples == total:
            _note(name, seen)
            noted_ns = now_ns()
    return seen


def channel_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Which axis of a layer's input and output its weights run over; -1 for the last."""
    found: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            found.setdefault(node.input[0], 1)
        elif node.op_type in ("MatMul", "Gemm"):
            found[node.input[0]] = -1
    return found


def _count(seen: Observed, name: str, values: Array, turn: int, axis: int | None) -> None:
    known = seen.tensors.get(name)
    if known is None:
        empty = np.zeros(0)
        known = seen.tensors[name] = Seen(Histogram(), empty, empty)
    if axis is None or values.ndim < 2 or values.size == 0:
        known.histogram.add(values, turn)
        return
    others = tuple(at for at in range(values.ndim) if at != axis % values.ndim)
    low, high = values.min(axis=others), values.max(axis=others)
    known.histogram.add(values, turn, (float(low.min()), float(high.max())))
    means = values.mean(axis=others).astype(np.float64)
    peaks = np.maximum(high, -low).astype(np.float64)
    if known.means.shape != means.shape:
        known.means, known.peaks = np.zeros_like(means), np.zeros_like(peaks)
    known.means += (means - known.means) / (turn + 1)
    known.peaks = np.maximum(known.peaks, peaks)


def _digest(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _note(name: str, seen: Observed) -> None:
    """Keep what was counted; where the cache refuses, a killed run starts anew."""
    items = list(seen.tensors.items())
    kept: dict[str, Any] = {
        "names": np.array([key for key, _ in items]),
        "samples": np.array(seen.samples),
        "scalars": np.array(
            [(one.histogram.limit, one.histogram.low, one.histogram.high) for _, one in items]
        ),
        "nonfinite": np.array([one.histogram.nonfinite for _, one in items]),
        "counts": np.stack([one.histogram.counts for _, one in items]),
    }
    for at, (_, one) in enumerate(items):
        if one.means.size:
            kept[f"means{at}"], kept[f"peaks{at}"] = one.means, one.peaks
    file = io.BytesIO()
    np.savez_compressed(file, **kept)
    if cache.store(_KIND, name, file.getvalue()) is not None:
        _tidy()


def _tidy() -> None:
    """Keep the newest: these notes are bigger than others."""
    with contextlib.suppress(OSError):
        notes = [path for path in (cache.root() / _KIND).iterdir() if path.suffix == ".npz"]
        for path in sorted(notes, key=lambda path: path.stat().st_mtime_ns)[:-_MOST_NOTES]:
            path.unlink(missing_ok=True)


def _recall(name: str, wanted: Iterable[str]) -> Observed | None:
    """What an earlier run counted of the same model, data and versions."""
    try:
        # np.load leaves a file open that it cannot read, unless somebody else owns it.
        with (
            (cache.root() / _KIND / name).open("rb") as file,
            np.load(file, allow_pickle=False) as kept,
        ):
            names = [str(item) for item in kept["names"]]
            counts, scalars = kept["counts"], kept["scalars"]
            if set(names) != set(wanted) or counts.shape != (len(names), BINS):
                return None
            tensors = {}
            for at, tensor in enumerate(names):
                limit, low, high = (float(value) for value in scalars[at])
                histogram = Histogram(
                    limit, low, high, counts[at].astype(np.int64), int(kept["nonfinite"][at])
                )
                empty = np.zeros(0)
                some = f"means{at}" in kept
                tensors[tensor] = Seen(
                    histogram,
                    kept[f"means{at}"] if some else empty,
                    kept[f"peaks{at}"] if some else empty,
                )
            samples = int(kept["samples"])
            return Observed(tensors, samples, samples)
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile):
        return None
