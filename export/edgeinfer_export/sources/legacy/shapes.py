"""Shapes of inputs: what the source says, and what the user says instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeinfer.errors import UsageError, suggest
from edgeinfer_export.sources.base import Shape


def input_shape(
    name: str,
    declared: Sequence[int],
    given: Mapping[str, Shape],
    *,
    batch_of_one: bool = False,
) -> Shape:
    """The shape of an input.

    Args:
        declared: what the source says; a number below 1 is open.
        given: what the user says, by name.
        batch_of_one: whether the first dimension is 1 unless the user says otherwise: sources
            often carry the batch of training or testing.

    Raises:
        UsageError: if the source leaves it open, and the user, too, or the user's has another
            number of dimensions.
    """
    if name in given:
        shape = tuple(given[name])
        if declared and len(shape) != len(declared):
            raise UsageError(
                f"--input-shape {name} has {len(shape)} dimensions; the model's input has "
                f"{len(declared)}: {list(declared)}."
            )
        return shape
    shape = tuple(declared)
    if batch_of_one and len(shape) > 1:
        shape = (1, *shape[1:])
    if not shape or any(isinstance(size, int) and size < 1 for size in shape):
        what = f"is {list(shape)} in the model" if shape else "is not written in the model"
        raise UsageError(
            f"The shape of the input '{name}' {what}: give it with --input-shape "
            f"{name}:1x3x224x224 (batch, channels, height, width)."
        )
    return shape


def refuse_unknown_inputs(given: Mapping[str, Shape], inputs: Sequence[str]) -> None:
    """Refuse a shape for an input that the model does not have.

    Raises:
        UsageError: with a suggestion.
    """
    for name in given:
        if name not in inputs:
            raise UsageError(f"The model has no input '{name}'. {suggest(name, inputs)}")
