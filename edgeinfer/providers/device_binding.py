"""Buffers of one stream in a device's own memory, with the copies to and from it timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgeinfer.errors import ProviderError
from edgeinfer.frames import Array, Arrays
from edgeinfer.providers.binding import OrtBinding
from edgeinfer.providers.ort import run_error
from edgeinfer.spec import TensorSpec
from edgeinfer.timing import now_ns


class DeviceBinding(OrtBinding):
    """ONNX Runtime's IOBinding over buffers on a GPU, fed from numpy buffers on the host.

    An output whose shape is not known is allocated by ONNX Runtime in each run.

    Args:
        memory: ONNX Runtime's name of the device's memory (``cuda``) and the device's index.

    Raises:
        ProviderError: if the device has no room for the buffers.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        shapes: Mapping[str, tuple[int, ...]],
        memory: tuple[str, int],
    ) -> None:
        self._values = ort.OrtValue
        self._memory = memory
        self._on_device: dict[str, Any] = {}
        self._transfers: tuple[int | None, int | None] = (None, None)
        super().__init__(ort, session, inputs, outputs, shapes)

    def _bind_input(self, name: str, buffer: Array) -> None:
        self._inputs[name] = buffer
        value = self._made(self._values.ortvalue_from_numpy, buffer)
        self._on_device[name] = value
        self._io.bind_ortvalue_input(name, value)

    def _bind_outputs(self, fixed: bool) -> None:
        self._io.clear_binding_outputs()
        self._open.clear()
        for spec in self._outputs:
            shape = spec.shape
            if fixed and all(isinstance(size, int) for size in shape) and 0 not in shape:
                kind = np.dtype(spec.dtype).type
                value = self._made(self._values.ortvalue_from_shape_and_type, list(shape), kind)
                self._io.bind_ortvalue_output(spec.name, value)
            else:
                self._open.append(spec.name)
                self._bind_open(spec.name)

    def _bind_open(self, name: str) -> None:
        self._io.bind_output(name, *self._memory)

    def _made(self, make: Callable[..., Any], *arguments: object) -> Any:
        try:
            return make(*arguments, *self._memory)
        except Exception as error:
            raise run_error(error) from error

    def run(self) -> Arrays:
        """Copy the inputs to the device, run, copy the outputs back.

        Returns:
            `{name: array}`, the host's own.

        Raises:
            ProviderError: if ONNX Runtime fails, or the binding is closed.
        """
        if self._io is None:
            raise ProviderError("Running the model failed: it is closed.")
        started = now_ns()
        try:
            self._forget_outputs()
            for name, buffer in self._inputs.items():
                self._on_device[name].update_inplace(buffer)
            fed = now_ns()
            # It waits for the device before it returns.
            self._session.run_with_iobinding(self._io, self._run_options)
            ran = now_ns()
            values = self._io.get_outputs()
            arrays = {
                spec.name: value.numpy() for spec, value in zip(self._outputs, values, strict=True)
            }
        except Exception as error:
            raise run_error(error) from error
        self._transfers = fed - started, now_ns() - ran
        return arrays

    def transfers_ns(self) -> tuple[int | None, int | None]:
        """What copying to and from the device took in the last run, both inside `run`."""
        return self._transfers

    def close(self) -> None:
        """Let the buffers go; a second call does nothing."""
        super().close()
        self._on_device.clear()
