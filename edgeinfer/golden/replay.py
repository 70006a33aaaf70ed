"""Feed golden vectors to a model on this box and say how far its answers are from the golden ones.

Three things are judged apart: preprocessing (the picture against the input that it became where
the model was made), the raw outputs, and the typed results. A right output behind a wrong resize,
or right boxes with dead scores, would pass any one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeinfer.errors import InputError, ModelFileError
from edgeinfer.frames import Array
from edgeinfer.golden.answers import LIMITS, differences
from edgeinfer.golden.vectors import Golden, Sample, Tolerance
from edgeinfer.model import Model
from edgeinfer.preprocess import preprocess
from edgeinfer.records import dataclass
from edgeinfer.results import finite
from edgeinfer.spec import InputSpec

# Other processors add in another order (fp32); halves keep three digits; in eight bits one level
# more or less grows over the layers. Between ONNX Runtime's and OpenVINO's CPU kernels 2e-5 was
# measured on FP32 networks, 4e-2 at most and 6e-5 on average on two INT8 ones.
_TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "fp32": Tolerance(max=1e-3, mean=1e-4),
        "tf32": Tolerance(max=5e-2, mean=5e-3),
        "fp16": Tolerance(max=5e-2, mean=5e-3),
        "bf16": Tolerance(max=2e-1, mean=2e-2),
    }
)
_COARSEST = Tolerance(max=3e-1, mean=3e-2)
# OpenCV's kernels for different processors round the same average to neighbouring levels.
MAX_LEVELS = 2.0
# Sigmoids of two runtimes differ by 1.3e-7 near zero: no share of scores that all lie there.
_LEAST_SPAN_OF_SCORES = 1e-3


def tolerance_of(precision: str) -> Tolerance:
    """How far outputs of a precision may be apart; integers and the unknown get the widest."""
    return _TOLERANCES.get(precision or "fp32", _COARSEST)


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        samples: how many were replayed.
        precision: the coarser one of the file's and of what computed here.
        preprocess: ``max_levels`` between pictures prepared here and there, in pixel levels, its
            ``tolerance``, and how many ``pictures``; None where there are no pictures.
        outputs: by name, ``max`` and ``mean`` difference as shares of the range, with
            ``tolerance`` and ``ok``.
        results: how many typed results are the ``same`` ``of`` all, and ``differences``.
        failures: what is not as it was, for people; empty where all is.
    """

    samples: int
    precision: str
    preprocess: Mapping[str, Any] | None
    outputs: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Any]
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        document = {
            "verdict": "fail" if self.failures else "pass",
            "samples": self.samples,
            "precision": self.precision,
            "preprocess": None if self.preprocess is None else dict(self.preprocess),
            "outputs": {name: dict(item) for name, item in self.outputs.items()},
            "results": dict(self.results),
            "failures": list(self.failures),
        }
        clean: dict[str, Any] = finite(document)[0]
        return clean


def replay(model: Model, golden: Golden) -> Replay:
    """Hold a model on this box against its golden vectors.

    Args:
        model: opened from the file that they belong to, with thresholds of its own.

    Raises:
        ModelFileError: if the vectors belong to another file or do not fit the model.
        ProviderError: if inference fails.
    """
    if golden.model_sha256 != model.running.sha256:
        raise ModelFileError(
            f"The golden vectors belong to a file with the hash {golden.model_sha256[:12]}; "
            f"{model.running.path} has {model.running.sha256[:12]}. Copy both of one export, or "
            f"export the model again."
        )
    in_graph = model.plan.preprocess == "graph"
    samples = [item for item in golden.samples if item.picture is not None or not in_graph]
    if not samples:
        raise ModelFileError(
            "The golden vectors hold no pictures, and with preprocessing in the graph nothing "
            "else can be fed: give --preprocess host."
        )
    apart = {name: _Apart() for name in samples[0].outputs}
    found: list[str] = []
    same = 0
    for number, sample in enumerate(samples):
        outputs, value = _answers(model, sample, in_graph)
        for name, figures in apart.items():
            figures.add(sample, name, outputs)
        limits = LIMITS[_coarsest(golden, model)]
        wrong = differences(sample.result, value, limits, model.spec.thresholds.get("score", 0.0))
        found += [f"sample {number}: {text}" for text in wrong]
        same += not wrong
    precision = _coarser_of(golden.precision, model.served.compute_precision)
    judged = {
        name: figures.judged(_wider(golden.tolerances.get(name), precision))
        for name, figures in apart.items()
    }
    prepared = _preprocessing(model, samples)
    return Replay(
        samples=len(samples),
        precision=precision,
        preprocess=prepared,
        outputs=judged,
        results={"same": same, "of": len(samples), "differences": found},
        failures=tuple(_failures(prepared, judged, found)),
    )


def _answers(model: Model, sample: Sample, in_graph: bool) -> tuple[dict[str, Array], Any]:
    try:
        fed = sample.picture if in_graph and sample.picture is not None else dict(sample.inputs)
        outputs = model.raw(fed)
        frame = dict(sample.inputs) if sample.picture is None else sample.picture
        return outputs, model(frame).value.to_dict()
    except InputError as error:
        raise ModelFileError(f"The golden vectors do not fit the model: {error}") from error


class _Apart:
    """Differences of one output, collected over samples."""

    def __init__(self) -> None:
        self.worst = self.total = 0.0
        self.count = 0
        self.gone: str | None = None

    def add(self, sample: Sample, name: str, outputs: Mapping[str, Array]) -> None:
        wanted, shape, stride = sample.outputs[name], sample.shapes[name], sample.strides[name]
        got = outputs.get(name)
        if got is None or got.shape != shape:
            self.gone = "missing" if got is None else f"{list(got.shape)} in place of {list(shape)}"
            return
        if wanted.dtype.kind not in "fiub" or wanted.size == 0:
            return
        off = _shares(wanted, np.ascontiguousarray(got).reshape(-1)[::stride], shape, stride)
        self.worst = max(self.worst, float(off.max()))
        self.total += float(off.sum())
        self.count += off.size

    def judged(self, tolerance: Tolerance) -> dict[str, Any]:
        mean = self.total / self.count if self.count else 0.0
        fits = self.worst <= tolerance.max and mean <= tolerance.mean
        figures = {"max": self.worst, "mean": mean, "tolerance": tolerance.to_dict()}
        return {**figures, "shape": self.gone, "ok": fits and self.gone is None}


def _shares(wanted: Array, got: Array, shape: Sequence[int], stride: int) -> Array:
    """Differences as shares of the golden range; of `(1, A, B)`, of each channel's own range.

    Boxes in hundreds of pixels beside scores up to one have no range in common.
    """
    a, b = np.asarray(wanted, np.float64), np.asarray(got, np.float64)
    both_none = (a == b) | (np.isnan(a) & np.isnan(b))
    off = np.where(both_none, 0.0, np.abs(a - b))
    off = np.where(np.isnan(off), np.inf, off)
    known = a[np.isfinite(a)]
    span = float(np.ptp(known)) if known.size else 0.0
    if known.size and known.min() >= 0 and known.max() <= 1:
        span = max(span, _LEAST_SPAN_OF_SCORES)
    if len(shape) != 3:
        return np.asarray(off / (span or 1.0))
    axis = 1 if shape[1] <= shape[2] else 2
    places = np.arange(len(a)) * stride
    channel = places // shape[2] % shape[1] if axis == 1 else places % shape[2]
    low, high = np.full(shape[axis], np.inf), np.full(shape[axis], -np.inf)
    sure = np.isfinite(a)
    np.minimum.at(low, channel[sure], a[sure])
    np.maximum.at(high, channel[sure], a[sure])
    # Scores that are all next to nothing have no range of their own.
    own = np.maximum(np.where(high >= low, high - low, 0.0), min(1.0, span) or 1.0)
    return np.asarray(off / own[channel])


def _preprocessing(model: Model, samples: Sequence[Sample]) -> dict[str, Any] | None:
    """Pictures prepared here against the inputs that they became there."""
    picture = next((item for item in model.spec.inputs if item.kind == "image"), None)
    pairs = [(item.picture, item.inputs) for item in samples if item.picture is not None]
    if picture is None or not pairs:
        return None
    worst = 0.0
    for pixels, inputs in pairs:
        wanted = inputs.get(picture.name)
        if wanted is None:
            raise ModelFileError(f"The golden vectors lack the input '{picture.name}'.")
        assert pixels is not None
        got, _ = preprocess(pixels, picture)
        if got.shape[1:] != wanted.shape[1:]:
            worst = np.inf
        else:
            worst = max(worst, _levels(got, wanted, picture))
    return {"max_levels": worst, "tolerance": MAX_LEVELS, "pictures": len(pairs)}


def _levels(got: Array, wanted: Array, spec: InputSpec) -> float:
    """The largest difference in levels of a pixel."""
    step = max(abs(factor) for factor, _ in spec.per_channel())
    off = np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max()
    return float(off / step)


def _coarser_of(one: str, other: str) -> str:
    return max(one or "fp32", other or "fp32", key=lambda name: tolerance_of(name).max)


def _coarsest(golden: Golden, model: Model) -> str:
    coarse = _coarser_of(golden.precision, model.served.compute_precision)
    return coarse if coarse in LIMITS else "int8"


def _wider(stated: Tolerance | None, precision: str) -> Tolerance:
    """What the file states, or what the precision that computed here needs, if that is more."""
    needed = tolerance_of(precision)
    return needed if stated is None or stated.max < needed.max else stated


def _failures(
    prepared: Mapping[str, Any] | None, outputs: Mapping[str, Mapping[str, Any]], found: list[str]
) -> list[str]:
    said = []
    if prepared is not None and not prepared["max_levels"] <= prepared["tolerance"]:
        said.append(
            f"preprocessing differs by {prepared['max_levels']:.3g} pixel levels "
            f"({prepared['tolerance']:g} allowed)"
        )
    for name, item in outputs.items():
        if item["shape"] is not None:
            said.append(f"output '{name}' is {item['shape']}")
        elif not item["ok"]:
            most = item["tolerance"]
            said.append(
                f"output '{name}' differs by {item['max']:.3g} of its range at most and "
                f"{item['mean']:.3g} on average ({most['max']:g} and {most['mean']:g} allowed)"
            )
    return said + found
