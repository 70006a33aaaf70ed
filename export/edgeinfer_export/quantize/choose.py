"""Which way of calibrating a model takes: the one whose outputs come nearest to the source's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from edgeinfer_export.quantize.bias import corrected
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.errors import OutputError
from edgeinfer_export.quantize.ranges import observe
from edgeinfer_export.quantize.smooth import is_product_heavy, smoothed
from edgeinfer_export.quantize.static import Quantizer
from edgeinfer_export.quantize.thresholds import METHODS
from edgeinfer_export.steps.verify import sample_numbers

Progress = Callable[[int, int], None]

_SAMPLES = 8
# Less than this share of the error is chance: on other samples it may be the other way round.
_CLEARLY = 0.95


def choose(
    job: Quantizer, samples: Calibration, method: str, progress: Progress | None = None
) -> tuple[Quantizer, tuple[str, ...]]:
    """Try smoothing, ranges and corrected biases on a few samples.

    Args:
        job: with the ranges that were seen.
        samples: at most 8 are used.
        method: a name of `METHODS`, or ``auto`` to try all of them.
        progress: for the second walk that smoothing needs.

    Returns:
        The better quantizer, and what was chosen and why, for people.
    """
    numbers = sample_numbers(len(samples), _SAMPLES)
    error = OutputError(job.model, samples, numbers)
    job = dataclasses.replace(job, method="minmax" if method == "auto" else method)
    best = error.of(job.build())
    notes = []
    if is_product_heavy(job.model):
        model, count = smoothed(job.model, job.observed)
        if count:
            other = dataclasses.replace(
                job, model=model, observed=observe(model, samples, progress)
            )
            found = error.of(other.build())
            if found < _CLEARLY * best:
                notes.append(f"smoothing of {count} matrix products ({_from_to(best, found)})")
                job, best = other, found
    if method == "auto":
        for name in METHODS:
            other = dataclasses.replace(job, method=name)
            found = error.of(other.build())
            if found < _CLEARLY * best:
                notes.append(f"ranges by {name} ({_from_to(best, found)})")
                job, best = other, found
    other = dataclasses.replace(job, model=corrected(job.model, job.build(), job.observed))
    found = error.of(other.build())
    if found < _CLEARLY * best:
        notes.append(f"corrected biases ({_from_to(best, found)})")
        job = other
    if not notes:
        return job, ()
    return job, (
        f"chosen by the outputs' error on {len(numbers)} calibration samples: {'; '.join(notes)}",
    )


def _from_to(old: float, new: float) -> str:
    return f"{old:.2%} to {new:.2%}"
