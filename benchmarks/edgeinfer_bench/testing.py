"""Faults to plant between the harness and a real model, in a real child: `Job.wrap` names them."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Mapping
from typing import Any

from edgeinfer.errors import ProviderError
from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result
from edgeinfer.spec import ModelSpec
from edgeinfer.timing import now_ns
from edgeinfer_bench.subject import Stream, Subject

SLOWER = 0.03
_FAILS_AT = 60


class _Lane:
    """A lane of the model, and what becomes of each result."""

    def __init__(self, lane: Stream) -> None:
        self._lane = lane

    def predict(self, frame: Frame, /, *more: Any) -> Result[Payload]:
        return self.change(self._lane.predict(frame, *more))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lane, name)

    def change(self, result: Result[Payload]) -> Result[Payload]:
        return result

    def close(self) -> None:
        self._lane.close()


class _Slow(_Lane):
    """Takes 3% longer: it waits busily, as work does."""

    def change(self, result: Result[Payload]) -> Result[Payload]:
        extra = round(result.latency_ns * SLOWER)
        until = now_ns() + extra
        while now_ns() < until:
            pass
        stages = {**result.stages_ns, "inference": result.stages_ns["inference"] + extra}
        return dataclasses.replace(
            result,
            stages_ns=stages,
            latency_ns=result.latency_ns + extra,
            age_ns=result.age_ns + extra,
        )


class _Failing(_Lane):
    """Breaks down half-way, as a provider that is out of memory."""

    calls = 0

    def change(self, result: Result[Payload]) -> Result[Payload]:
        self.calls += 1
        if self.calls >= _FAILS_AT:
            raise ProviderError(f"planted: out of memory at frame {self.calls}.")
        return result


class _Dying(_Failing):
    """Takes its process with it."""

    def change(self, result: Result[Payload]) -> Result[Payload]:
        self.calls += 1
        if self.calls >= _FAILS_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class _Wrapped:
    """A model whose lanes are wrapped."""

    def __init__(self, model: Subject, kind: type[_Lane]) -> None:
        self._model = model
        self._kind = kind

    @property
    def spec(self) -> ModelSpec:
        return self._model.spec

    @property
    def notes(self) -> tuple[str, ...]:
        return self._model.notes

    def lane(self) -> Stream:
        return self._kind(self._model.lane())

    def summary(self) -> Mapping[str, Any]:
        return self._model.summary()

    def close(self) -> None:
        self._model.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def slower(model: Subject) -> Subject:
    """Every frame takes 3% longer."""
    return _Wrapped(model, _Slow)


def failing(model: Subject) -> Subject:
    """The sixtieth frame of a lane raises ProviderError."""
    return _Wrapped(model, _Failing)


def dying(model: Subject) -> Subject:
    """The sixtieth frame of a lane kills the process."""
    return _Wrapped(model, _Dying)
