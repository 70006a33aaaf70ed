"""One stream through a model: its buffers, its preprocessing, its clock."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from edgeinfer.errors import InputError, ProviderError, SpecError
from edgeinfer.frames import Array, Arrays, Frame, FrameId
from edgeinfer.geometry import Affine
from edgeinfer.heads import Head, View
from edgeinfer.machine import Growth
from edgeinfer.model.carried import Carried
from edgeinfer.model.recovery import Recovery
from edgeinfer.packages import opencv
from edgeinfer.preprocess import HostPreprocess
from edgeinfer.providers import Binding, check_inputs
from edgeinfer.results import Payload, Result
from edgeinfer.spec import ModelSpec
from edgeinfer.timing import now_ns

_UNMOVED = Affine(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


def _silently() -> Callable[..., Any]:
    """What calls a function, numpy's warnings about numbers that are none being off.

    Right after an inference np.errstate takes 31 us and entering a context 6, on an x86-64 core.
    """
    if int(np.__version__.partition(".")[0]) < 2:  # numpy 1 keeps the setting by thread

        def call(function: Callable[..., Any], *arguments: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(*arguments)

        return call
    context = contextvars.Context()
    context.run(np.seterr, all="ignore")
    return context.run


class _Ran(NamedTuple):
    """One run.

    Attributes:
        outputs: the graph's.
        began: when its turn at the processors came; None where it did not wait.
        transfers_ns: to the device and back; None where nothing is copied.
    """

    outputs: Arrays
    began: int | None
    transfers_ns: tuple[int | None, int | None]

    def stages(self, fed: int, ended: int) -> dict[str, int]:
        """Nanoseconds by stage, between the input's being ready and the output's."""
        began = fed if self.began is None else self.began
        into, out = self.transfers_ns
        stages = {"inference": ended - began - (into or 0) - (out or 0)}
        if self.began is not None:
            stages["wait"] = began - fed
        if into is not None:
            stages["transfer_in"] = into
        if out is not None:
            stages["transfer_out"] = out
        return stages


class Lane:
    """Runs frames one after the other; two lanes of one model may run at the same time.

    Args:
        recovery: the model's engine, and where inferences take turns.
        spec: what the results mean. fed: the spec of the graph that is really run (with
            preprocessing in the graph its input differs from the model's own).
        shapes: of every input, in full.
        growth: what memory came since opening began, to be put into huge pages; None to leave it.
    """

    def __init__(
        self,
        recovery: Recovery,
        spec: ModelSpec,
        fed: ModelSpec,
        head: Head,
        shapes: Mapping[str, tuple[int, ...]],
        growth: Growth | None,
    ) -> None:
        self._recovery = recovery
        self._spec = spec
        self._head = head
        self._shapes = shapes
        self._growth = growth
        self._picture = next((item for item in fed.inputs if item.kind == "image"), None)
        self._interrupted = False
        self._generation = -1
        self._bind()
        self._carried = Carried(spec, self._engine.inputs, shapes)
        self._before: FrameId | None = None
        self._gap: tuple[str, ...] = ()
        self._silently = _silently()

    def _bind(self) -> None:
        """Take buffers of the model's engine, as it now is."""
        selected = self._recovery.current()
        self._generation = self._recovery.generation
        self._engine = selected.engine
        self._served = selected.served
        self._flags = ("fallback",) if selected.served.fallback else ()
        self._binding = self._engine.bind(self._shapes)
        self._has_run = self._pages_joined = False
        # Arrays get buffers of their own: preprocessing relies on the padding in the picture's.
        self._array_binding: Binding | None = None
        self._host = None
        self._view: View | None = None
        self._picture_is_all = len(self._binding.inputs) == 1
        if self._picture is not None:
            # A second thread resizes 720p and 4K no sooner, and spins on for a while afterwards:
            # an inference of 57 ms took 2 ms longer beside it, on two processors.
            opencv().setNumThreads(1)
            self._host = HostPreprocess(self._picture, self._binding.inputs[self._picture.name])

    def predict(self, frame: Frame, dropped_before: int = 0) -> Result[Payload]:
        """Preprocess, infer, decode.

        Args:
            dropped_before: frames that the feed dropped before this one.

        Raises:
            InputError: if the frame is not what the model takes.
            ProviderError: if inference fails, and again after the engine was opened anew.
        """
        self._keep_up()
        self._follow(frame)
        if self._has_run:
            # Not before: a single frame does not earn the time that this takes.
            self._join_pages()
        started = now_ns()
        binding, view = self._feed(frame)
        fed = now_ns()
        ran, flags = self._run_or_recover(binding, frame)
        ended = now_ns()
        self._has_run = True
        if self._carried:
            self._carried.keep(ran.outputs)
        value = self._decode(ran.outputs, view)
        done = now_ns()
        gap, self._gap = self._gap, ()
        return Result(
            value=value,
            frame=frame.id,
            task=self._head.task,
            served=self._served,
            stages_ns={
                **frame.stages_ns,
                "queue": max(0, started - frame.id.ready_ns),
                "preprocess": fed - started,
                **ran.stages(fed, ended),
                "postprocess": done - ended,
            },
            latency_ns=done - started,
            age_ns=done - frame.id.ready_ns,
            dropped_before=dropped_before,
            flags=frame.id.flags + gap + self._flags + flags + getattr(value, "flags", ()),
        )

    def _decode(self, outputs: Arrays, view: View) -> Payload:
        """Read the outputs; numbers that are none end up as flags, not as warnings.

        Raises:
            SpecError: if they are not what the head reads.
        """
        value: Payload
        try:
            (value,) = self._silently(self._head.decode, outputs, (view,), self._spec)
        except (ValueError, IndexError) as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
            raise SpecError(
                f"The head '{self._head.name}' cannot read what came out of the graph ({shapes}): "
                f"{error}. Give the right one with --head, or --task tensor for the outputs as "
                f"they are."
            ) from error
        return value

    def raw(self, frame: Frame) -> dict[str, Array]:
        """The graph's outputs, copied; errors as of `predict`."""
        self._keep_up()
        binding, _ = self._feed(frame)
        ran, _ = self._run_or_recover(binding, frame)
        self._carried.keep(ran.outputs)
        return {name: array.copy() for name, array in ran.outputs.items()}

    def _keep_up(self) -> None:
        """Take buffers of the engine's successor where another lane had it replaced."""
        if self._generation != self._recovery.generation:
            self._bind()

    def _run(self, binding: Binding) -> _Ran:
        """Run when it is its turn at the processors."""
        turns, each = self._recovery.processors, self._recovery.each
        began = now_ns() if turns.take(each) else None
        try:
            return _Ran(binding.run(), began, binding.transfers_ns())
        finally:
            turns.give(each)

    def _run_or_recover(self, binding: Binding, frame: Frame) -> tuple[_Ran, tuple[str, ...]]:
        """Run; where the provider fails, once more on the engine's successor, with a flag."""
        try:
            return self._run(binding), ()
        except ProviderError as error:
            if self._interrupted:
                raise
            self._recovery.after(error, self._generation, self._release)
        self._bind()
        binding, _ = self._feed(frame)
        return self._run(binding), ("rebuilt",)

    def _release(self) -> None:
        self._generation = -1
        self.close()

    def _feed(self, frame: Frame) -> tuple[Binding, View]:
        data = frame.data
        if self._host is None or not self._picture_is_all or not isinstance(data, np.ndarray):
            return self._feed_other(data)
        return self._feed_picture(data)

    def _feed_other(self, data: Array | Arrays) -> tuple[Binding, View]:
        """What is no picture, or is not all that the model takes."""
        if isinstance(data, Mapping):
            binding = self._feed_arrays(data)
            return binding, View(_UNMOVED, None, binding.inputs)
        if self._host is None or self._picture is None:
            names = ", ".join(f"{item.name} {list(item.shape)}" for item in self._engine.inputs)
            raise InputError(
                f"This model takes no pictures but the arrays {names}: give them as .npy or .npz, "
                f"or as a mapping of input name to array."
            )
        carried = self._carried.complete({}) if self._carried else {}
        for name, array in carried.items():
            np.copyto(self._binding.inputs[name], array)
        taken = (self._picture.name, *carried)
        others = [name for name in self._binding.inputs if name not in taken]
        if others:
            raise InputError(
                f"Beside the picture this model needs the inputs {', '.join(others)}: give all of "
                f"them in one .npz."
            )
        return self._feed_picture(data)

    def _feed_picture(self, data: Array) -> tuple[Binding, View]:
        assert self._host is not None
        to_frame = self._host(data)
        view = self._view
        if view is None or view.to_frame is not to_frame:
            frame_wh = (data.shape[1], data.shape[0])
            view = self._view = View(to_frame, frame_wh, self._binding.inputs)
        return self._binding, view

    def _feed_arrays(self, data: Arrays) -> Binding:
        specs = self._engine.inputs
        if set(data) == {""}:
            free = [item.name for item in specs if item.name not in self._carried.names]
            if len(free) != 1:
                raise InputError(
                    f"This model has {len(free)} inputs ({', '.join(free)}): give a .npz that "
                    f"names them, or a constant 'value' for all but one in --spec."
                )
            data = {free[0]: data[""]}
        if self._carried:
            data = self._carried.complete(data)
        check_inputs(specs, data)
        if self._array_binding is None:
            self._array_binding = self._engine.bind(self._shapes)
        self._array_binding.rebind(data)
        return self._array_binding

    def _follow(self, frame: Frame) -> None:
        """Begin anew with another recording, or after a gap, which the next result tells; single
        pictures are the steps of one."""
        now, before = frame.id, self._before
        self._before = now
        if before is None:
            return
        if now.stream == before.stream and now.restarts > before.restarts:
            self._gap = ("reconnected",)
            self.reset()
            return
        single = isinstance(frame.data, np.ndarray) and now.media_time_ns is None
        if not single and (now.stream != before.stream or now.index < before.index):
            self.reset()

    def reset(self) -> None:
        """Forget the state of the frames before, as for another stream."""
        self._carried.reset()

    def _join_pages(self) -> None:
        """Put what the model takes of memory into huge pages, once; it has run, so all is there."""
        if self._pages_joined:
            return
        self._pages_joined = True
        if self._growth is not None and self._recovery.on_cpu:
            self._growth.join()

    def warm_up(self, for_long: bool = False) -> bool:
        """Run once on whatever the picture's buffer holds: the first run allocates and is slower.

        Args:
            for_long: join the pages now, too, and not at the second frame, when frames that come
                by a clock would have to wait for it.

        Returns:
            False for models of arrays, where it is not known what shapes they will get, and for
            those that do not take what the buffer holds: the first frame is their first run.

        Raises:
            ProviderError: if it is interrupted.
        """
        self._keep_up()
        if self._host is None:
            return False
        try:
            self._run(self._binding)
        except ProviderError:
            if self._interrupted:
                raise
            return False
        if for_long:
            self._join_pages()
        return True

    def interrupt(self) -> None:
        """Make an inference that is under way fail; any thread may call it."""
        self._interrupted = True
        for binding in (self._binding, self._array_binding):
            if binding is not None:
                binding.interrupt()

    def close(self) -> None:
        """Let the buffers go."""
        self._view = None
        self._binding.close()
        if self._array_binding is not None:
            self._array_binding.close()
