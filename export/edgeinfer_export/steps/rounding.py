"""What a source that computes in float64 answers where the graph gets its numbers in float32.

A tree divides at thresholds in float64, often at a number of its training data, and a graph in
float32 has the thresholds rounded as its input is: the number and the threshold become the same,
and the graph takes the branch that the source takes for the number before it was rounded. Rounded
alone, the number may lie beyond the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.quantize.calibration import ArrayCalibration, Samples
from edgeinfer_export.sources.base import Reference

# Far more than float32 differs by, far less than another branch of a tree.
_SAME = 1e-5


def expected(
    reference: Reference, inputs: Samples, index: int, got: Mapping[str, Array]
) -> tuple[dict[str, Array], bool]:
    """What the source answers to a sample, and whether that is to other numbers than were given.

    A source that takes them gets the numbers of the user's file. If its answer is not the graph's,
    but that to numbers with the same rounding is (the rounded ones, or the least of all), the
    conversion is not to blame.

    Args:
        got: the graph's answer.
    """
    fed = inputs.inputs(index)
    if not getattr(reference, "takes_unrounded", False):
        return reference.run(fed), False
    first = inputs.unrounded(index) if isinstance(inputs, ArrayCalibration) else fed
    wanted = reference.run(first)
    if _alike(wanted, got) or any(array.dtype != np.float32 for array in fed.values()):
        return wanted, False
    for other in (fed, {name: least_of(array) for name, array in fed.items()}):
        answer = reference.run(other)
        if _alike(answer, got):
            return answer, True
    return wanted, False


def least_of(numbers: Array) -> Array:
    """The least float64 that is rounded to each float32 (a tie is left out)."""
    lower = np.nextafter(numbers, np.float32(-np.inf)).astype(np.float64)
    exact = numbers.astype(np.float64)
    least: Array = np.nextafter((lower + exact) / 2, exact)
    return least


def _alike(wanted: Mapping[str, Array], got: Mapping[str, Array]) -> bool:
    return all(
        name in got
        and array.shape == got[name].shape
        and (
            np.allclose(array, got[name], rtol=_SAME, atol=_SAME, equal_nan=True)
            if array.dtype.kind == "f"
            else np.array_equal(array, got[name])
        )
        for name, array in wanted.items()
    )
