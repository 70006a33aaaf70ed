"""One stream through a model: its buffers, its preprocessing, its clock."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.frames import Array, Arrays, Frame
from edgeinfer.geometry import Affine
from edgeinfer.heads import Head, View
from edgeinfer.packages import opencv
from edgeinfer.preprocess import HostPreprocess
from edgeinfer.providers import Binding, Engine, check_inputs
from edgeinfer.results import Payload, Result, Served
from edgeinfer.spec import ModelSpec
from edgeinfer.timing import now_ns

_OPEN = contextlib.nullcontext()
_UNMOVED = Affine(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


class Lane:
    """Runs frames one after the other; two lanes of one model may run at the same time.

    Args:
        spec: what the results mean. fed: the spec of the graph that is really run (with
            preprocessing in the graph its input differs from the model's own).
    """

    def __init__(
        self,
        engine: Engine,
        spec: ModelSpec,
        fed: ModelSpec,
        head: Head,
        served: Served,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._head = head
        self._served = served
        self._shapes = shapes
        self._binding = engine.bind(shapes)
        # Arrays get buffers of their own: preprocessing relies on the padding in the picture's.
        self._array_binding: Binding | None = None
        self._picture = next((item for item in fed.inputs if item.kind == "image"), None)
        self._host = None
        if self._picture is not None:
            opencv().setNumThreads(served.threads)
            self._host = HostPreprocess(self._picture, self._binding.inputs[self._picture.name])
        self._flags = ("fallback",) if served.fallback else ()

    def predict(
        self,
        frame: Frame,
        gate: contextlib.AbstractContextManager[object] | None = None,
        dropped_before: int = 0,
    ) -> Result[Payload]:
        """Preprocess, infer, decode.

        Args:
            gate: held during inference only, so that lanes take turns at the processors.
            dropped_before: frames that the feed dropped before this one.

        Raises:
            InputError: if the frame is not what the model takes.
            ProviderError: if inference fails.
        """
        started = now_ns()
        binding, view = self._feed(frame)
        fed = now_ns()
        with gate or _OPEN:
            began = now_ns()
            outputs = binding.run()
            ended = now_ns()
        (value,) = self._head.decode(outputs, (view,), self._spec)
        done = now_ns()
        return Result(
            value=value,
            frame=frame.id,
            task=self._head.task,
            served=self._served,
            stages_ns={
                **frame.stages_ns,
                "queue": max(0, started - frame.id.ready_ns),
                "preprocess": fed - started,
                **({} if gate is None else {"wait": began - fed}),
                "inference": ended - began,
                "postprocess": done - ended,
            },
            latency_ns=done - started,
            age_ns=done - frame.id.ready_ns,
            dropped_before=dropped_before,
            flags=frame.id.flags + self._flags + getattr(value, "flags", ()),
        )

    def raw(self, frame: Frame) -> dict[str, Array]:
        """The graph's outputs, copied."""
        binding, _ = self._feed(frame)
        return {name: array.copy() for name, array in binding.run().items()}

    def _feed(self, frame: Frame) -> tuple[Binding, View]:
        data = frame.data
        if isinstance(data, Mapping):
            return self._feed_arrays(data), View(_UNMOVED, None)
        if self._host is None or self._picture is None:
            names = ", ".join(f"{item.name} {list(item.shape)}" for item in self._engine.inputs)
            raise InputError(
                f"This model takes no pictures but the arrays {names}: give them as .npy or .npz, "
                f"or as a mapping of input name to array."
            )
        others = [name for name in self._binding.inputs if name != self._picture.name]
        if others:
            raise InputError(
                f"Beside the picture this model needs the inputs {', '.join(others)}: give all "
                f"of them in one .npz."
            )
        to_frame = self._host(data)
        return self._binding, View(to_frame, (data.shape[1], data.shape[0]))

    def _feed_arrays(self, data: Arrays) -> Binding:
        specs = self._engine.inputs
        if set(data) == {""}:
            if len(specs) != 1:
                raise InputError(
                    f"This model has {len(specs)} inputs ({', '.join(s.name for s in specs)}): "
                    f"give a .npz that names them."
                )
            data = {specs[0].name: data[""]}
        check_inputs(specs, data)
        if self._array_binding is None:
            self._array_binding = self._engine.bind(self._shapes)
        self._array_binding.rebind(data)
        return self._array_binding

    def warm_up(self) -> bool:
        """Run once on whatever the picture's buffer holds: the first run allocates and is slower.

        Returns:
            False for models of arrays: what shapes they will get is not known.

        Raises:
            ProviderError: if inference fails.
        """
        if self._host is not None:
            self._binding.run()
        return self._host is not None

    def interrupt(self) -> None:
        """Make an inference that is under way fail; any thread may call it."""
        for binding in (self._binding, self._array_binding):
            if binding is not None:
                binding.interrupt()

    def close(self) -> None:
        """Let the buffers go."""
        self._binding.close()
        if self._array_binding is not None:
            self._array_binding.close()
