"""Buffers of one stream, bound once, so that a run allocates nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.errors import InputError, ProviderError
from edgeinfer.frames import Array, Arrays
from edgeinfer.providers.ort import run_error
from edgeinfer.spec import TensorSpec

_MAX_BYTES = 1 << 33


class OrtBinding:
    """ONNX Runtime's IOBinding over numpy buffers on the CPU.

    Where every dimension of an output is known, its buffer is allocated once and written to by
    every run; else ONNX Runtime allocates it anew each time.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._session = session
        self._run_options = ort.RunOptions()
        self._io = session.io_binding()
        self._outputs = outputs
        self._inputs: dict[str, Array] = {}
        self._fixed: dict[str, Array] = {}
        self._open: list[str] = []
        for spec in inputs:
            refuse_exotic("input", spec)
            self._bind_input(spec.name, allocate("input", spec, shapes[spec.name]))
        for spec in outputs:
            refuse_exotic("output", spec)
        static = {spec.name: spec.shape for spec in inputs} == dict(shapes)
        self._bind_outputs(fixed=static)

    @property
    def inputs(self) -> Arrays:
        """`{name: array}`: C-contiguous buffers to write into."""
        return self._inputs

    def _bind_input(self, name: str, buffer: Array) -> None:
        self._inputs[name] = buffer
        self._io.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)

    def _bind_outputs(self, fixed: bool) -> None:
        self._io.clear_binding_outputs()
        self._fixed.clear()
        self._open.clear()
        for spec in self._outputs:
            shape = spec.shape
            if fixed and all(isinstance(size, int) for size in shape) and 0 not in shape:
                buffer = allocate("output", spec, tuple(int(size) for size in shape))
                self._fixed[spec.name] = buffer
                self._io.bind_output(
                    spec.name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data
                )
            else:
                self._open.append(spec.name)
                self._bind_open(spec.name)

    def _bind_open(self, name: str) -> None:
        self._io.bind_output(name, "cpu")

    def _forget_outputs(self) -> None:
        """Let go what the last run gave where sizes are open: ONNX Runtime would take it for a
        buffer to write into, and refuse where a size depends on values and is another one now."""
        for name in self._open:
            self._bind_open(name)

    def rebind(self, feed: Arrays) -> None:
        """Take arrays as they are; an input of another shape than before gets another buffer."""
        for name, array in feed.items():
            buffer = self._inputs[name]
            if buffer.shape != array.shape:
                self._bind_input(name, np.array(array, order="C"))
                self._bind_outputs(fixed=False)
            else:
                np.copyto(buffer, array)

    def run(self) -> Arrays:
        """Run once.

        Returns:
            `{name: array}`: views that hold until the next run.

        Raises:
            ProviderError: if ONNX Runtime fails, or the binding is closed.
        """
        if self._io is None:
            raise ProviderError("Running the model failed: it is closed.")
        self._forget_outputs()
        try:
            self._session.run_with_iobinding(self._io, self._run_options)
        except Exception as error:
            if not self._fixed:
                raise run_error(error) from error
            # The file may declare an output shape that is not what it computes.
            self._bind_outputs(fixed=False)
            try:
                self._session.run_with_iobinding(self._io, self._run_options)
            except Exception as again:
                raise run_error(again) from again
        if len(self._fixed) == len(self._outputs):
            return self._fixed
        values = self._io.get_outputs()
        return {
            spec.name: self._fixed[spec.name] if spec.name in self._fixed else value.numpy()
            for spec, value in zip(self._outputs, values, strict=True)
        }

    def transfers_ns(self) -> tuple[int | None, int | None]:
        """Nothing is transferred: the buffers are where the model runs."""
        return None, None

    def interrupt(self) -> None:
        """Make a run that is under way fail, as an endless one must; any thread may call it."""
        self._run_options.terminate = True

    def close(self) -> None:
        """Let the buffers go; a second call does nothing."""
        self._session = self._io = None


def refuse_exotic(what: str, spec: TensorSpec) -> None:
    """Refuse what is no tensor of numbers.

    Raises:
        InputError: naming it.
    """
    if "(" in spec.dtype:
        raise InputError(
            f"The model's {what} '{spec.name}' is a {spec.dtype}, not a tensor of numbers. Export "
            f"it without (for scikit-learn: options={{'zipmap': False}})."
        )


def allocate(what: str, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Zeros of this shape.

    Raises:
        InputError: if they would take more memory than a stream may have.
    """
    size = math.prod(shape) * np.dtype(spec.dtype).itemsize
    if size > _MAX_BYTES:
        raise InputError(
            f"The {what} '{spec.name}' of shape {list(shape)} takes {size / 2**30:.1f} GiB; the "
            f"limit is {_MAX_BYTES >> 30} GiB."
        )
    return np.zeros(shape, spec.dtype)
