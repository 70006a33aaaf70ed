"""What is measured: a model, the frames it gets, and what was noted about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result
from edgeinfer.spec import ModelSpec, TensorSpec
from edgeinfer_bench.digests import OutputWatch
from edgeinfer_bench.feed import Feed, keep
from edgeinfer_bench.recorder import Recorder


class Subject(Protocol):
    """What the harness needs of a model: `edgeinfer.model.Model`, or a stub."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    def __call__(self, frame: Frame, /) -> Result[Payload]: ...

    def summary(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


@dataclass(eq=False)
class Contender:
    """One model in a run, opened, with its frames and its notes."""

    label: str
    model: Subject
    feed: Feed
    opening_ns: int
    warmup: Recorder
    measured: Recorder
    watch: OutputWatch = field(default_factory=OutputWatch)
    flags: Counter[str] = field(default_factory=Counter)
    fallback: bool = False
    ended: bool = False
    _first: tuple[Frame, Result[Payload]] | None = None

    def step(self, recorder: Recorder) -> bool:
        """Run one frame and note it.

        Returns:
            False where a live source has ended.

        Raises:
            EdgeInferError: whatever the source or the model raises.
        """
        frame = self.feed.next()
        if frame is None:
            self.ended = True
            return False
        result = self.model(frame)
        recorder.add(result)
        if self._first is None:
            self._begin(frame, result)
        if result.flags:
            self.flags.update(result.flags)
        if not self.model.spec.state:
            self.watch.see(result)
        return True

    def _begin(self, frame: Frame, result: Result[Payload]) -> None:
        self.fallback = result.served.fallback
        self._first = (keep(frame), result)

    def recheck(self) -> None:
        """Run the first frame once more and compare, untimed: every run gets at least one check."""
        if self._first is not None and not self.model.spec.state:
            frame, before = self._first
            self.watch.compare(before, self.model(frame))

    def first_frame_ns(self) -> int:
        """Latency of the very first frame after opening."""
        recorder = self.warmup if len(self.warmup) else self.measured
        first = recorder.samples()["latency"][0]
        assert first is not None  # every frame has a latency
        return first
