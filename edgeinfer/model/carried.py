"""What a stream feeds beside its frames: constants, and what the call before left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeinfer.frames import Array, Arrays
from edgeinfer.spec import ModelSpec, TensorSpec


class Carried:
    """The constants, the recurrent state and the context of one stream.

    State begins with zeros. Context is what of the frame before is put in front of this one, along
    the last axis; it begins with zeros, too.

    Args:
        spec: says which inputs are constant, which outputs become which inputs, and how much
            context an input takes.
        inputs: of the graph.
        shapes: of every input, in full.
    """

    def __init__(
        self, spec: ModelSpec, inputs: Sequence[TensorSpec], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        dtypes = {item.name: item.dtype for item in inputs}
        self._constants: dict[str, Array] = {
            item.name: np.full(shapes[item.name], item.value, dtypes[item.name])
            for item in spec.inputs
            if item.value is not None and item.name in dtypes
        }
        self._state = dict(spec.state)
        self._zeros: dict[str, Array] = {
            name: np.zeros(shapes[name], dtypes[name])
            for name in self._state.values()
            if name in dtypes
        }
        self._context = {item.name: item.context for item in spec.inputs if item.context}
        self.reset()

    def reset(self) -> None:
        """Begin anew, as for another stream."""
        self._now: dict[str, Array] = dict(self._zeros)
        self._before: dict[str, Array] = {}
        self._fed: Arrays = {}

    @property
    def names(self) -> frozenset[str]:
        """Inputs that need not be given."""
        return frozenset((*self._constants, *self._now))

    def __bool__(self) -> bool:
        return bool(self._constants or self._now or self._context)

    def complete(self, data: Arrays) -> dict[str, Array]:
        """What is fed, with everything that is carried; given arrays win over constants."""
        self._fed = data
        whole = {**self._constants, **self._now, **data}
        for name, count in self._context.items():
            if name in data:
                new = data[name]
                zeros = np.zeros((*new.shape[:-1], count), new.dtype)
                before = self._before.get(name, zeros)
                whole[name] = np.concatenate((before, new), axis=-1)
        return whole

    def keep(self, outputs: Arrays) -> None:
        """Take over what a run left: its state, and the end of what it was fed."""
        for output, name in self._state.items():
            self._now[name] = outputs[output].copy()
        for name, count in self._context.items():
            if name in self._fed:
                zeros = np.zeros((*self._fed[name].shape[:-1], count), self._fed[name].dtype)
                before = self._before.get(name, zeros)
                joined = np.concatenate((before, self._fed[name]), axis=-1)
                self._before[name] = joined[..., -count:].copy()
