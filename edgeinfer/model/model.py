"""An opened model: what a user holds."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeinfer import cache
from edgeinfer.artifact import ModelFile
from edgeinfer.errors import EdgeInferError, InputError, SpecError
from edgeinfer.frames import Array, Arrays, Frame, frame_from_array
from edgeinfer.heads import HEADS, Graph
from edgeinfer.model.embedded import REVISION, embedded_file
from edgeinfer.model.lane import Lane
from edgeinfer.model.options import LoadOptions
from edgeinfer.model.session import Session, open_session, threads_of
from edgeinfer.plan import Plan, plan_key, stored_preprocess
from edgeinfer.providers import Engine, Selected
from edgeinfer.results import Payload, Result, Served
from edgeinfer.spec import ModelSpec, TensorSpec
from edgeinfer.timing import now_ns


class Model:
    """A model that is open on a provider; close it, or use it in a `with` block.

    Attributes:
        file: the model's file and hash.
        spec: what it expects and means.
        served: what really runs it.
        plan: how it was opened.
        plan_key: what a measured choice for it is stored under.
        opening_ns: how long opening took.
    """

    def __init__(
        self,
        file: ModelFile,
        selected: Selected,
        spec: ModelSpec,
        fed: ModelSpec,
        plan: Plan,
        shapes: Mapping[str, tuple[int, ...]],
        plan_key: str,
        opening_ns: int,
    ) -> None:
        self.file = file
        self.spec = spec
        self.served: Served = selected.served
        self.plan = plan
        self.plan_key = plan_key
        self.opening_ns = opening_ns
        self._engine: Engine = selected.engine
        self._fed = fed
        self._shapes = shapes
        self._lock = threading.Lock()
        self._lane: Lane | None = None
        self._lanes: weakref.WeakSet[Lane] = weakref.WeakSet()
        self._closed = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs of the graph that runs."""
        return self._engine.inputs

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
    def class_count(self) -> int | None:
        """How many classes its outputs tell apart, None where that stays open."""
        return HEADS[self.spec.head].classes(Graph(self.outputs, None))

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Width and height of its picture input, None where it takes no pictures."""
        picture = next((item for item in self.spec.inputs if item.kind == "image"), None)
        return None if picture is None or picture.size_hw is None else picture.size_hw[::-1]

    def lane(self) -> Lane:
        """Another set of buffers, for a thread of its own.

        Raises:
            InputError: if the model is closed or leaves an input's shape open.
        """
        if self._closed:
            raise InputError("This model is closed: load it again.")
        lane = Lane(
            self._engine, self.spec, self._fed, HEADS[self.spec.head], self.served, self._shapes
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
                "path": str(self.file.path),
                "sha256": self.file.sha256,
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
        self._engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_model(path: Path, options: LoadOptions) -> Model:
    """Open a model.

    Raises:
        ModelFileError: if the file is missing, damaged, hostile or no model.
        SpecError: if what it means is unknown, ambiguous or contradictory.
        ProviderError: if the named provider does not run it.
        UsageError: for unknown names.
    """
    started = now_ns()
    session = open_session(path, options)
    try:
        spec = session.resolve(options)
        key = choice_key(session, spec)
        selected, fed, plan = _apply_plan(session, spec, options)
        shapes = _full_shapes(selected.engine.inputs, fed, options.input_shapes)
    except EdgeInferError:
        session.selected.engine.close()
        raise
    return Model(session.file, selected, spec, fed, plan, shapes, key, now_ns() - started)


def _apply_plan(
    session: Session, spec: ModelSpec, options: LoadOptions
) -> tuple[Selected, ModelSpec, Plan]:
    """Move preprocessing into the graph where the user or a stored measurement says so."""
    selected = session.selected
    threads = threads_of(options)
    preprocess, source = options.preprocess, "options"
    if preprocess is None:
        preprocess = stored_preprocess(choice_key(session, spec))
        source = "default" if preprocess is None else "tuned"
    if preprocess != "graph":
        stated = options.threads is not None or options.preprocess is not None
        where = "options" if stated and source != "tuned" else source
        return selected, spec, Plan(where, threads, lanes=options.lanes)
    path, fed = embedded_file(session.file, spec)
    inner = selected.reopen(path)
    selected.engine.close()
    return inner, fed, Plan(source, threads, preprocess="graph", lanes=options.lanes)


def choice_key(session: Session, spec: ModelSpec) -> str:
    """Everything that the choice of preprocessing depends on."""
    opening, served = session.selected.opening, session.selected.served
    return plan_key(
        session.file.sha256,
        served.provider_impl,
        served.provider,
        opening.device,
        sorted(opening.options.items()),
        opening.threads,
        sorted(opening.shapes.items()),
        spec.inputs,
        REVISION,
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


def load(
    path: str | Path,
    provider: str = "auto",
    *,
    options: LoadOptions | None = None,
    threads: int | None = None,
    task: str | None = None,
    head: str | None = None,
    spec: str | Path | None = None,
    labels: str | Path | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    cache_dir: str | Path | None = None,
) -> Model:
    """Open a model and say what really runs it.

    Args:
        path: an ONNX file.
        provider: ``auto`` or a provider's name; a named one runs, or opening fails.
        options: everything that can be said; the arguments below override it.
        threads: for inference and preprocessing; None for what the box really grants.
        task, head, spec, labels: override what the model says of itself.
        score_threshold, iou_threshold: which detections are reported.
        cache_dir: where this process keeps what can be made again.

    Raises:
        ModelFileError: if the file is missing, damaged, hostile or no model.
        SpecError: if what it means is unknown, ambiguous or contradictory.
        ProviderError: if the named provider does not run it.
        UsageError: for unknown names.

    Example:
        with edgeinfer.load("model.onnx") as model:
            result = model(picture)
    """
    if cache_dir is not None:
        cache.set_root(Path(cache_dir))
    base = options or LoadOptions()
    said: dict[str, Any] = {
        "threads": threads,
        "task": task,
        "head": head,
        "spec": None if spec is None else Path(spec),
        "labels": None if labels is None else Path(labels),
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "provider": None if provider == "auto" else provider,
    }
    given = {key: value for key, value in said.items() if value is not None}
    return open_model(Path(path), dataclasses.replace(base, **given))
