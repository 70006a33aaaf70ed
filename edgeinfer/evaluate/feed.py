"""From a sample to what a model is fed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.spec import ModelSpec, TensorSpec


def fed(picture: Array | Arrays, inputs: Sequence[TensorSpec], spec: ModelSpec) -> Array | Arrays:
    """A picture as it is; arrays under their inputs' names, in their types and shapes.

    Args:
        picture: of a sample; the empty name stands for the input that has no constant and no state.
        inputs: of the model, every dimension settled; empty where that is not known.
    """
    if isinstance(picture, np.ndarray):
        return picture
    taken = {item.name for item in spec.inputs if item.value is not None}
    taken |= set(spec.state.values())
    free = [item.name for item in inputs if item.name not in taken]
    named = {free[0] if name == "" and len(free) == 1 else name: a for name, a in picture.items()}
    known = {item.name: item for item in inputs}
    return {
        name: _shaped(array, known[name]) if name in known else array
        for name, array in named.items()
    }


def _shaped(array: Array, item: TensorSpec) -> Array:
    """The array in the input's type; a batch is put before it, or its shape is the input's."""
    shape = tuple(size for size in item.shape if isinstance(size, int))
    whole = np.ascontiguousarray(array, item.dtype)
    if whole.shape == shape or len(shape) != len(item.shape):
        return whole
    if whole.size == math.prod(shape):
        return whole.reshape(shape)
    return whole[None] if whole.ndim == len(shape) - 1 else whole
