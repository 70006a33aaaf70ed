"""What is measured: a model, as the harness needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result
from edgeinfer.sources import Source
from edgeinfer.spec import ModelSpec


class Stream(Protocol):
    """One set of buffers: `edgeinfer.model.Lane`, or a stub."""

    def predict(self, frame: Frame, /) -> Result[Payload]: ...

    def close(self) -> None: ...


class Subject(Protocol):
    """What the harness needs of a model: `edgeinfer.model.Model`, or a stub."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def lane(self) -> Stream: ...

    def summary(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Entry:
    """One model of a run: how to open it and where its frames come from."""

    open_model: Callable[[], Subject]
    open_source: Callable[[Subject], Source]
