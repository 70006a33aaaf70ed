"""Buffers of one stream for OpenVINO's own runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.errors import InputError, ProviderError
from edgeinfer.frames import Array, Arrays
from edgeinfer.packages import need
from edgeinfer.providers import failures
from edgeinfer.providers.binding import allocate, refuse_exotic
from edgeinfer.providers.onnx_description import ports_of
from edgeinfer.spec import TensorSpec


class OpenVinoBinding:
    """An inference request over numpy buffers.

    Outputs of known shape are written into buffers that are allocated once.

    Args:
        program: the compiled model; its ports lie in the order of `inputs` and `outputs`.
    """

    def __init__(
        self,
        program: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._tensor = need("openvino").Tensor
        try:
            self._request: Any = program.create_infer_request()
        except Exception as error:
            raise _run_error(error) from error
        self._interrupted = False
        names = [spec.name for spec in inputs]
        self._ports = dict(zip(names, ports_of(program.inputs, names), strict=True))
        self._inputs: dict[str, Array] = {}
        self._fixed: dict[str, Array] = {}
        self._open: dict[str, Any] = {}
        for spec in inputs:
            refuse_exotic("input", spec)
            self._bind_input(spec.name, allocate("input", spec, shapes[spec.name]))
        named = [spec.name for spec in outputs]
        for spec, port in zip(outputs, ports_of(program.outputs, named), strict=True):
            refuse_exotic("output", spec)
            if port.get_partial_shape().is_static and 0 not in tuple(port.get_shape()):
                buffer = allocate("output", spec, tuple(port.get_shape()))
                self._request.set_tensor(port, self._tensor(buffer, shared_memory=True))
                self._fixed[spec.name] = buffer
            else:
                self._open[spec.name] = port

    @property
    def inputs(self) -> Arrays:
        """`{name: array}`: C-contiguous buffers to write into."""
        return self._inputs

    def _bind_input(self, name: str, buffer: Array) -> None:
        try:
            self._request.set_tensor(self._ports[name], self._tensor(buffer, shared_memory=True))
        except Exception as error:
            raise InputError(
                f"The input '{name}' does not take the shape {list(buffer.shape)}: the model was "
                f"compiled for {self._ports[name].get_partial_shape()}."
            ) from error
        self._inputs[name] = buffer

    def rebind(self, feed: Arrays) -> None:
        """Take arrays as they are; an input of another shape than before gets another buffer.

        Raises:
            InputError: if the model was compiled for another shape.
        """
        for name, array in feed.items():
            buffer = self._inputs[name]
            if buffer.shape != array.shape:
                self._bind_input(name, np.array(array, order="C"))
            else:
                np.copyto(buffer, array)

    def run(self) -> Arrays:
        """Run once.

        Returns:
            `{name: array}`: views that hold until the next run.

        Raises:
            ProviderError: if OpenVINO fails, or the run was interrupted.
        """
        try:
            self._request.start_async()
            if self._interrupted:
                self._request.cancel()
            self._request.wait()
        except Exception as error:
            why = failures.explain(str(error))
            said = failures.openvino_message(str(error)) or type(error).__name__
            raise ProviderError(
                f"Running the model failed: {said}." + (f" That is: {why}." if why else "")
            ) from error
        if self._interrupted:
            raise ProviderError("Running the model failed: it was interrupted.")
        if not self._open:
            return self._fixed
        found = {name: self._request.get_tensor(port).data for name, port in self._open.items()}
        return {**self._fixed, **found}

    def transfers_ns(self) -> tuple[int | None, int | None]:
        """Nothing is transferred, or OpenVINO does it unseen."""
        return None, None

    def interrupt(self) -> None:
        """Make a run that is under way fail; any thread may call it."""
        self._interrupted = True
        request = self._request
        if request is not None:
            request.cancel()

    def close(self) -> None:
        """Let the buffers go; a second call does nothing."""
        self._request = None


def _run_error(error: Exception) -> ProviderError:
    from edgeinfer.providers.openvino_runtime import message_of

    why = failures.explain(str(error))
    return ProviderError(
        f"Running the model failed: {message_of(error)}." + (f" That is: {why}." if why else "")
    )
