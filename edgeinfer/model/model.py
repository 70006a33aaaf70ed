"""An opened model: what a user holds."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import EdgeInferError, InputError, SpecError
from edgeinfer.frames import Array, Arrays, Frame, frame_from_array
from edgeinfer.heads import HEADS, Graph
from edgeinfer.machine import Growth, give_back_memory, this_machine
from edgeinfer.model.options import LoadOptions
from edgeinfer.model.recovery import Recovery
from edgeinfer.model.session import Session, open_session
from edgeinfer.model.target import why_unfit
from edgeinfer.providers import Engine
from edgeinfer.results import Payload, Result, Served
from edgeinfer.spec import ModelSpec, TensorSpec
from edgeinfer.timing import now_ns

if TYPE_CHECKING:
    from edgeinfer.model.lane import Lane
    from edgeinfer.providers.headstart import HeadStart


class Model:
    """A model that is open on a provider; close it, or use it in a `with` block.

    Attributes:
        file: what was asked for: its path and hash.
        running: the file that runs: the same, or the variant that the stored plan chose.
        spec: what it expects and means.
        plan: how it was opened.
        notes: what is worth telling about that, for people.
        opening_ns: how long opening took.
    """

    def __init__(
        self,
        session: Session,
        recovery: Recovery,
        spec: ModelSpec,
        fed: ModelSpec,
        shapes: Mapping[str, tuple[int, ...]],
        opening_ns: int,
        growth: Growth | None,
    ) -> None:
        self.file = session.file
        self.running = session.running
        self.spec = spec
        self.plan = session.plan
        self.notes = session.notes
        self.opening_ns = opening_ns
        self._session = session
        self._recovery = recovery
        self._fed = fed
        self._shapes = shapes
        self._growth = growth
        self._lock = threading.Lock()
        self._lane: Lane | None = None
        self._lanes: weakref.WeakSet[Lane] = weakref.WeakSet()
        self._closed = False

    @property
    def served(self) -> Served:
        """What really runs it, now."""
        return self._recovery.selected.served

    @property
    def _engine(self) -> Engine:
        return self._recovery.selected.engine

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs of the graph that runs."""
        return self._engine.inputs

    @property
    def graph_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs of the file, before preprocessing moved into its graph."""
        return self._session.graph_inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs of the graph that runs."""
        return self._engine.outputs

    @property
    def fed_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs with every dimension settled, as arrays made up for them must be."""
        return tuple(
            dataclasses.replace(item, shape=self._shapes[item.name]) for item in self.inputs
        )

    @property
    def given_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that a frame brings, in the shape that it brings: without constants, state and
        context, and a batch of one where the head tells what each frame is."""
        spec, given = self.spec, []
        for item in self.inputs:
            described = next((one for one in spec.inputs if one.name == item.name), None)
            if item.name in spec.state.values() or (described and described.value is not None):
                continue
            shape = list(item.shape)
            if shape and isinstance(shape[0], str) and spec.head != "tensor":
                shape[0] = 1
            if shape and described and isinstance(shape[-1], int):
                shape[-1] -= described.context
            given.append(dataclasses.replace(item, shape=tuple(shape)))
        return tuple(given)

    @property
    def class_count(self) -> int | None:
        """How many classes its outputs tell apart, None where that stays open."""
        graph = Graph(self.outputs, None, options=self.spec.head_options)
        return HEADS[self.spec.head].classes(graph)

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Width and height of its picture input, None where it takes no pictures."""
        picture = next((item for item in self.spec.inputs if item.kind == "image"), None)
        return None if picture is None or picture.size_hw is None else picture.size_hw[::-1]

    @property
    def takes_pictures(self) -> bool:
        """Whether a picture of a known size is all that a frame must bring."""
        return self.size_wh is not None and len(self.given_inputs) == 1

    def lane(self, spec: ModelSpec | None = None) -> Lane:
        """Another set of buffers, for a thread of its own.

        Args:
            spec: reads the outputs in another way than the model's own, by other thresholds.

        Raises:
            InputError: if the model is closed or leaves an input's shape open.
            ModelFileError: if the file is hostile: running it killed or hung the child that vets.
        """
        if self._closed:
            raise InputError("This model is closed: load it again.")
        self._session.check_vetted()
        if not self._lanes:
            give_back_memory()
        # Opening does without what only running needs.
        from edgeinfer.model.lane import Lane

        lane = Lane(
            self._recovery,
            spec or self.spec,
            self._fed,
            HEADS[self.spec.head],
            self._shapes,
            self._growth,
        )
        self._lanes.add(lane)
        return lane

    def __call__(self, frame: Frame | Array | Arrays) -> Result[Payload]:
        """Run one frame.

        Args:
            frame: a `Frame`, an `(H, W, 3)` uint8 BGR picture, or a mapping of input name to
                array.

        Raises:
            InputError: if it is not what the model takes.
            ProviderError: if inference fails.
        """
        if not isinstance(frame, Frame):
            frame = frame_from_array(frame)
        with self._lock:
            return self._own_lane().predict(frame)

    def raw(self, frame: Frame | Array | Arrays) -> dict[str, Array]:
        """The graph's outputs for one frame, before the head; copies.

        Raises:
            InputError: if the frame is not what the model takes.
            ProviderError: if inference fails.
        """
        if not isinstance(frame, Frame):
            frame = frame_from_array(frame)
        with self._lock:
            return self._own_lane().raw(frame)

    def reset(self) -> None:
        """Forget what earlier calls left behind (recurrent state), as for another stream."""
        with self._lock:
            if self._lane is not None:
                self._lane.reset()

    def _own_lane(self) -> Lane:
        if self._lane is None:
            self._lane = self.lane()
        return self._lane

    def summary(self) -> dict[str, Any]:
        """What ran, as in the summaries of `run` and `bench` (schema ``edgeinfer.run/1``)."""
        served = self.served
        precision = self.spec.precision or served.compute_precision
        return {
            "model": {
                "path": str(self.running.path),
                "sha256": self.running.sha256,
                "requested_path": str(self.file.path),
                "requested_sha256": self.file.sha256,
                "task": self.spec.task,
                "head": self.spec.head,
                "precision": precision,
            },
            **served.to_dict(),
            "plan": self.plan.to_dict(),
            "flags": ["fallback"] if served.fallback else [],
        }

    def close(self) -> None:
        """Let the session and its buffers go; a second call does nothing."""
        self._closed = True
        for lane in list(self._lanes):
            lane.close()
        self._lanes.clear()
        self._lane = None
        self._recovery.close()
        self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_model(path: Path, options: LoadOptions, started: HeadStart | None = None) -> Model:
    """Open a model.

    Args:
        started: where the vetting of the file may be under way.

    Raises:
        ModelFileError: if the file is missing, damaged, hostile or no model.
        SpecError: if what it means is unknown, ambiguous or contradictory, or it was quantized for
            another kind of box.
        ProviderError: if the named provider does not run it.
        UsageError: for unknown names.
    """
    began = now_ns()
    growth = Growth() if options.huge_pages else None
    session = open_session(path, options, started)
    try:
        spec = session.resolve(options)
        _check_target(session, spec)
        fed = spec
        if session.fed_inputs is not None:
            fed = dataclasses.replace(spec, inputs=session.fed_inputs)
        shapes = _full_shapes(session.selected.engine.inputs, fed, options.input_shapes)
    except EdgeInferError:
        session.close()
        raise
    if spec.carries and session.plan.lanes > 1:
        # Frames that depend on those before them go one by one, each on all threads.
        session.close()
        return open_model(path, dataclasses.replace(options, lanes=1, recording=False))
    may_fall_back = options.allow_fallback and why_unfit(spec.target, "cpu", this_machine()) is None
    recovery = Recovery(session.selected, session.plan.lanes, may_fall_back)
    return Model(session, recovery, spec, fed, shapes, now_ns() - began, growth)


def _check_target(session: Session, spec: ModelSpec) -> None:
    why = why_unfit(spec.target, session.selected.served.provider, this_machine())
    if why is not None:
        raise SpecError(
            f"{session.running.path} was quantized for {spec.target}, which this box does not fit: "
            f"{why}. Export it again with another --target (x86-any is right on every box), or "
            f'give --spec with "target": null to run it all the same.'
        )


def _full_shapes(
    inputs: tuple[TensorSpec, ...],
    fed: ModelSpec,
    given: Mapping[str, tuple[int, ...]],
) -> dict[str, tuple[int, ...]]:
    """Every input's shape as it will be fed: a batch of one, the spec's size, one where open."""
    shapes = {}
    for item in inputs:
        described = next((one for one in fed.inputs if one.name == item.name), None)
        sizes: list[int | str] = list(item.shape)
        if described is not None and described.kind == "image" and described.size_hw is not None:
            height, width = described.size_hw
            if described.layout == "nchw":
                full = [1, described.channels, height, width]
            else:
                full = [1, height, width, described.channels]
            sizes = [
                have if isinstance(have, int) else want
                for have, want in zip(sizes, full, strict=True)
            ]
            if sizes[0] != 1 or given.get(item.name, (1,))[0] != 1:
                batch = given.get(item.name, sizes)[0]
                raise SpecError(
                    f"The input '{item.name}' takes batches of {batch}; frames come one by one: "
                    f"export the model with batch 1 or an open batch dimension."
                )
        elif item.name in given:
            sizes = list(given[item.name])
        shapes[item.name] = tuple(size if isinstance(size, int) else 1 for size in sizes)
    return shapes
