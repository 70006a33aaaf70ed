"""What a model answers to the samples of a dataset, as many at once as it has lanes."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol

from edgeinfer.datasets import Sample
from edgeinfer.evaluate.feed import fed
from edgeinfer.frames import Array, Arrays, frame_from_array
from edgeinfer.results import Payload, Result
from edgeinfer.spec import ModelSpec

if TYPE_CHECKING:
    from edgeinfer.model import Lane


class Predicts(Protocol):
    """A model that answers frames; `edgeinfer.model.Model` is one."""

    @property
    def spec(self) -> ModelSpec: ...

    def __call__(self, frame: Array | Arrays, /) -> Result[Payload]: ...


def answers(model: Predicts, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Result[Payload]]]:
    """Each sample with its result, in the order of the samples.

    A model that was opened with several lanes answers several at once, while the next are read.

    Raises:
        EdgeInferError: what reading and answering raise.
    """
    inputs = getattr(model, "fed_inputs", ())
    lanes = _lanes(model)
    if not lanes:
        for sample in samples:
            yield sample, model(fed(sample.picture, inputs, model.spec))
        return
    free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def answer(data: Array | Arrays) -> Result[Payload]:
        lane = free.get()
        try:
            return lane.predict(frame_from_array(data))
        finally:
            free.put(lane)

    waiting: deque[tuple[Sample, Future[Result[Payload]]]] = deque()
    pool = ThreadPoolExecutor(len(lanes), "edgeinfer-evaluate")
    try:
        for given in samples:
            sample = deepcopy(given)  # whoever makes them may use their arrays again
            data = fed(sample.picture, inputs, model.spec)
            waiting.append((sample, pool.submit(answer, data)))
            if len(waiting) > len(lanes):
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _first(
    waiting: deque[tuple[Sample, Future[Result[Payload]]]],
) -> tuple[Sample, Result[Payload]]:
    sample, result = waiting.popleft()
    return sample, result.result()


def _lanes(model: Any) -> list[Lane]:
    """A lane for each inference that the model runs at once; none where that is one."""
    plan = getattr(model, "plan", None)
    return [model.lane() for _ in range(plan.lanes)] if plan is not None and plan.lanes > 1 else []
