"""Fakes for clock, model and source: tests of everything timed run at once and never sleep."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from edgeinfer.errors import InputError, ProviderError
from edgeinfer.frames import Array, Arrays, Frame, FrameId, frame_from_array
from edgeinfer.results import Payload, Placement, Result, Served, Tensors
from edgeinfer.sources import SourceInfo
from edgeinfer.spec import InputSpec, ModelSpec, TensorSpec

STUB_SERVED = Served(
    provider="cpu",
    provider_impl="stub 1",
    device="cpu",
    compute_precision="fp32",
    threads=1,
    requested_provider="cpu",
    skipped_providers={},
    placement=Placement("partition", {"cpu": {"Conv": 2, "Sigmoid": 1}}),
)
_SPEC = ModelSpec("tensor", "tensor", inputs=(InputSpec("images", size_hw=(4, 4)),))


class FakeClock:
    """A monotonic clock that moves only when told to; call it for the time in nanoseconds."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self.time_ns = start_ns

    def __call__(self) -> int:
        return self.time_ns

    def advance(self, by_ns: int) -> None:
        """Let time pass."""
        self.time_ns += by_ns

    def wait_until(self, until_ns: int) -> None:
        """Let time pass up to a moment; one that is over costs nothing."""
        self.time_ns = max(self.time_ns, until_ns)


class StubModel:
    """A model of known latency: each call moves the fake clock by the next of `latencies_ns`.

    Args:
        clock: what it moves.
        latencies_ns: one per call, repeated when used up; a tenth of each is preprocessing, a
            tenth postprocessing, the rest inference.
        outputs: one array per call, repeated when used up: a second one plants a changed output.
        name: what its summary calls it.
        fails_at: the call, from 0, that raises ProviderError.
        flags: flags of every result.
        caches: whether a frame that it has seen is answered in a microsecond.
    """

    def __init__(
        self,
        clock: FakeClock,
        latencies_ns: Sequence[int] = (1_000_000,),
        *,
        outputs: Sequence[Array] = (np.ones((1, 4), np.float32),),
        name: str = "stub",
        served: Served = STUB_SERVED,
        spec: ModelSpec = _SPEC,
        fails_at: int | None = None,
        flags: tuple[str, ...] = (),
        caches: bool = False,
    ) -> None:
        self.spec = spec
        self.served = served
        self.inputs = (TensorSpec("images", "float32", (1, 3, 4, 4)),)
        self.outputs = (TensorSpec("output", "float32", (1, 4)),)
        self.opening_ns = 5_000_000
        self.notes: tuple[str, ...] = ()
        self.calls = 0
        self.closed = False
        self._clock = clock
        self._latencies = itertools.cycle(latencies_ns)
        self._values = itertools.cycle([Tensors({"output": output}) for output in outputs])
        self._name = name
        self._fails_at = fails_at
        self._flags = flags
        self._seen: set[int] | None = set() if caches else None

    def __call__(self, frame: Frame | Array | Arrays) -> Result[Payload]:
        """Let the next latency pass.

        Raises:
            ProviderError: at the call that was told to fail.
            InputError: for an array that is no picture.
        """
        if self.closed:
            raise InputError("This model is closed.")
        if self.calls == self._fails_at:
            raise ProviderError(f"The stub was told to fail at call {self.calls}.")
        self.calls += 1
        if not isinstance(frame, Frame):
            frame = frame_from_array(frame)
        latency = self._latency_of(frame)
        edge = latency // 10
        self._clock.advance(latency)
        stages = {
            **frame.stages_ns,
            "preprocess": edge,
            "inference": latency - 2 * edge,
            "postprocess": edge,
        }
        return Result(
            value=next(self._values),
            frame=frame.id,
            task=self.spec.task,
            served=self.served,
            stages_ns=stages,
            latency_ns=latency,
            age_ns=max(latency, self._clock() - frame.id.ready_ns),
            flags=self._flags,
        )

    def _latency_of(self, frame: Frame) -> int:
        if self._seen is not None:
            known = frame.id.index in self._seen
            self._seen.add(frame.id.index)
            if known:
                return 1000
        return next(self._latencies)

    def predict(self, frame: Frame) -> Result[Payload]:
        """The same; a stub is its own lane."""
        return self(frame)

    def lane(self) -> StubModel:
        """Itself."""
        return self

    def summary(self) -> dict[str, Any]:
        """What a real model says about itself in schema ``edgeinfer.run/1``."""
        return {
            "model": {
                "path": f"{self._name}.onnx",
                "sha256": "0" * 64,
                "requested_sha256": "0" * 64,
                "task": self.spec.task,
                "head": self.spec.head,
                "precision": "fp32",
            },
            **self.served.to_dict(),
            "plan": {
                "source": "default",
                "threads": 1,
                "sessions": 1,
                "preprocess": "host",
                "lanes": 1,
            },
            "flags": list(self._flags),
        }

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> StubModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class StubSource:
    """So many small pictures, each of another brightness, and what it cost to read each.

    Args:
        clock: moved by `capture_ns` for every frame.
        count: frames until it ends.
    """

    def __init__(
        self,
        clock: FakeClock,
        count: int,
        *,
        capture_ns: int = 2_000_000,
        live: bool = False,
        size_wh: tuple[int, int] = (8, 6),
    ) -> None:
        self.info = SourceInfo("stub", live, "video", None if live else count, None, size_wh)
        self.notes: tuple[str, ...] = ()
        self.closed = False
        self._index = 0
        self._clock = clock
        self._count = count
        self._capture_ns = capture_ns
        self._size_wh = size_wh

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self.closed or self._index >= self._count:
            raise StopIteration
        index = self._index
        self._index += 1
        self._clock.advance(self._capture_ns)
        width, height = self._size_wh
        picture = np.full((height, width, 3), 1 + index % 255, np.uint8)
        identity = FrameId("stub", index, None, self._clock(), self._size_wh)
        return Frame(identity, picture, {"capture": self._capture_ns})

    def close(self) -> None:
        self.closed = True
