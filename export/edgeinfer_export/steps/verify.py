"""Hold a written file against its source: same inputs, how far apart are the outputs?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import CheckFailed
from edgeinfer.frames import Array
from edgeinfer_export.quantize.calibration import Samples
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.sources.base import Reference, Tolerance
from edgeinfer_export.steps.rounding import expected

FP32 = Tolerance()
# Sigmoids of two runtimes differ by 1.3e-7 near zero, whatever the conversion: of scores that all
# lie there that is no share.
LEAST_SPAN_OF_SCORES = 5e-3
_MAX_SAMPLES = 16
_NUMBERS = "fiub"


class _Apart:
    """Differences of one output, collected over samples."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.worst = self.total = 0.0
        self.count = 0
        self.values: set[float] = set()
        self.broken = False

    def add(self, reference: Array, other: Array) -> None:
        if reference.shape != other.shape:
            self.worst = math.inf
            return
        if reference.size == 0:
            return
        if reference.dtype.kind not in _NUMBERS:  # texts are the same or they are not
            reference, other = np.zeros(reference.shape), np.not_equal(reference, other)
        a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
        self.low = min(self.low, float(np.nanmin(a, initial=math.inf)))
        self.high = max(self.high, float(np.nanmax(a, initial=-math.inf)))
        self.broken |= bool((np.isfinite(a) & ~np.isfinite(b)).any())
        # The same infinity or NaN at the same place is no difference; on one side only, it is.
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        apart = np.where(np.isnan(apart), math.inf, apart)
        self.worst = max(self.worst, float(apart.max()))
        self.total += float(apart.sum())
        self.count += apart.size
        self.values.update((float(b.flat[0]), float(b.max()), float(b.min())))

    @property
    def span(self) -> float:
        """The reference's range over all samples, 1 where it never changes."""
        span = self.high - self.low
        if span > 0 and self.low >= 0 and self.high <= 1:
            span = max(span, LEAST_SPAN_OF_SCORES)
        return span if math.isfinite(span) and span > 0 else 1.0

    @property
    def dead(self) -> bool:
        """Whether this output is one constant where the reference's is none."""
        return len(self.values) == 1 and self.high > self.low

    def to_dict(self) -> dict[str, float]:
        mean = self.total / self.count if self.count else 0.0
        return {"max": self.worst / self.span, "mean": mean / self.span}


def parity(reference: Reference, output: Path, inputs: Samples) -> dict[str, Any]:
    """Compare a file with what it was made from, on the same inputs.

    Args:
        reference: runs the source.
        output: what was made of it.
        inputs: at most 16 of them are used, evenly chosen.

    Returns:
        ``outputs``: for each, the largest (``max``) and the mean difference as a share of the
        reference's range; ``samples``; ``rounded``: in how many of them the source was
        asked for other numbers with the same rounding, see `expected`; ``inputs``: what they were
        made from; ``reference``: what ran the source.

    Raises:
        CheckFailed: if an output of the new file is missing, constant where the reference's is
            not, or no number where the reference's is one.
        ModelFileError: if one of the two cannot be run on these inputs.
    """
    other = Session(output)
    apart = {name: _Apart() for name in reference.outputs}
    missing = [name for name in reference.outputs if name not in other.outputs]
    if missing:
        raise CheckFailed(f"The exported model lacks the output {', '.join(missing)}.")
    chosen = sample_numbers(len(inputs), _MAX_SAMPLES)
    rounded = 0
    for index in chosen:
        got = other.run(inputs.inputs(index))
        wanted, beside = expected(reference, inputs, index, got)
        rounded += beside
        for name, found in apart.items():
            found.add(wanted[name], got[name])
    for name, found in apart.items():
        if found.broken:
            raise CheckFailed(
                f"The exported model's output '{name}' is infinite or no number (NaN) where the "
                f"source's is a number. It was not written. Calibrate on typical data, or export "
                f"with --precision fp32."
            )
        if found.dead:
            raise CheckFailed(
                f"The exported model's output '{name}' is always {found.values.pop():g}, while the "
                f"source's runs from {found.low:g} to {found.high:g}: it would see nothing. "
                f"Calibrate on typical data, or export with --precision fp32."
            )
    return {
        "outputs": {name: found.to_dict() for name, found in apart.items()},
        "samples": len(chosen),
        "rounded": rounded,
        "inputs": inputs.kind,
        "reference": reference.name,
    }


def check_fp32(found: Mapping[str, Any], allowed: Tolerance = FP32) -> None:
    """Refuse a file of the source's own precision whose outputs are not the source's.

    Raises:
        CheckFailed: naming the output that is furthest away.
    """
    outputs: Mapping[str, Mapping[str, float]] = found["outputs"]
    for kind, most in (("max", allowed.max), ("mean", allowed.mean)):
        name = max(outputs, key=lambda name: outputs[name][kind])
        worst = outputs[name][kind]
        if not worst <= most:
            raise CheckFailed(
                f"The exported model's output '{name}' differs from the source's by {worst:.2g} of "
                f"its range ({kind}), more than {most:g}: the conversion changed the model. Report "
                f"this with the model, and keep the source."
            )


def parity_notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be told of thresholds and of outputs whose difference is no number."""
    notes: tuple[str, ...] = ()
    if found["rounded"]:
        notes = (
            f"on {found['rounded']} of {found['samples']} samples the source answers otherwise to "
            f"a number than to another with the same rounding to float32, as a threshold lies "
            f"between the two; the file answers as the source does to one of them",
        )
    outputs: Mapping[str, Mapping[str, float]] = found["outputs"]
    without = [name for name, figures in outputs.items() if not math.isfinite(figures["max"])]
    if not without:
        return notes
    return (
        *notes,
        f"how far {', '.join(without)} lies from the source's cannot be told: on some samples its "
        f"shape differs, or the source itself gives no number",
    )


def sample_numbers(count: int, most: int) -> Sequence[int]:
    """At most so many numbers below a count, evenly spread: the same on every run."""
    if count <= most:
        return range(count)
    return [int(number) for number in np.linspace(0, count - 1, most).round()]
