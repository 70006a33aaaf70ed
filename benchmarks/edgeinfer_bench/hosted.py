"""A model that is measured in a fresh process of its own: the parent's end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer import cache, errors
from edgeinfer.child import Child
from edgeinfer.errors import EdgeInferError
from edgeinfer.remote import Remote, WorkerFailed
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.replicate import columns_from
from edgeinfer_bench.rig import Closing, Opened

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions

# An engine that may be built takes minutes; the rest lasts as long as the user said, and more.
_OPEN_S = 3600.0
_WORK_S = 600.0
_OPERATORS_S = 300.0


@dataclass(frozen=True)
class Job:
    """What a child is to open.

    Attributes:
        source: as `entry_for`. wrap: ``module:callable`` that is put before the model.
        warmup, most_frames: as of `Rig`.
    """

    path: Path
    source: str | None
    options: LoadOptions
    warmup: int | None = None
    wrap: str | None = None
    most_frames: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the worker takes it; paths absolute, because a child works elsewhere."""
        from edgeinfer.tune.worker import options_to

        return {
            "path": str(self.path.absolute()),
            "source": _absolute(self.source),
            "options": options_to(self.options),
            "variants": [str(path.absolute()) for path in self.options.variants],
            "cache": str(cache.root().parent),
            "warmup": self.warmup,
            "most_frames": self.most_frames,
            "wrap": self.wrap,
        }


def _absolute(source: str | None) -> str | None:
    """The same source for somebody who works in another folder."""
    if source is None or ("://" in source and not os.path.lexists(source)):
        return source
    scheme = source.partition(":")[0]
    if scheme in ("camera", "gst", "synthetic") and not os.path.lexists(source):
        return source
    return os.path.abspath(source)


@dataclass
class Hosted:
    """A `Process` in a child."""

    job: Job
    _remote: Remote | None = field(default=None, init=False)

    def _ask(self, command: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        assert self._remote is not None
        try:
            return self._remote.ask(command, timeout_s)
        except WorkerFailed as error:
            raise _as_raised(error) from error

    def open(self) -> Opened:
        self._remote = Remote(Child("edgeinfer_bench.worker"))
        said = self._ask({"do": "open", **self.job.to_dict()}, _OPEN_S)
        source = dict(said["source"])
        return Opened(
            about=said["about"],
            source=source,
            fps=said["fps"],
            lanes=said["lanes"],
            opening_ns=said["opening_ns"],
            warmup_samples_ns=columns_from(said["warmup_samples_ns"]),
            settled=said["settled"],
        )

    def measure(self, order: Order, /) -> Turn:
        limit_s = _WORK_S if order.duration_ns is None else _WORK_S + order.duration_ns / 1e9
        if order.frames is not None:
            limit_s += order.frames * (order.interval_ns / 1e9 + 1)
        said = self._ask({"do": "measure", "order": order.to_dict()}, limit_s)
        return Turn.from_dict(said["turn"])

    def finish(self) -> Closing:
        said = self._ask({"do": "finish"}, _WORK_S)
        return Closing(said["about"], said["source"], said["evidence"])

    def operators(self, frames: int) -> dict[str, Any]:
        """Time per operator, see `operators.profile_operators`; asked of a process of its own.

        Raises:
            EdgeInferError: if the model cannot be opened so.
        """
        # CUDA reads it when it starts: kernels are then waited for, not only launched.
        child = Child("edgeinfer_bench.worker", environment={"CUDA_LAUNCH_BLOCKING": "1"})
        self._remote = Remote(child)
        command = {"do": "operators", "frames": frames, **self.job.to_dict()}
        found: dict[str, Any] = self._ask(command, _OPERATORS_S)["operators"]
        return found

    def witness(self, folder: Path) -> dict[str, Any]:
        """Let a process of its own write the frames into a folder; what it says of the model.

        Raises:
            EdgeInferError: if the model or the source cannot be opened.
        """
        self._remote = Remote(Child("edgeinfer_bench.worker"))
        return self._ask({"do": "witness", "folder": str(folder), **self.job.to_dict()}, _OPEN_S)

    def agree(self, answers: Sequence[Any], head: str, precision: str) -> dict[str, Any]:
        """`Witness.agree`, after `witness`."""
        command = {"do": "agree", "answers": list(answers), "head": head, "precision": precision}
        said = self._ask(command, _WORK_S)
        said.pop("ok")
        return said

    def close(self) -> None:
        if self._remote is not None:
            self._remote.close()
            self._remote = None


def _as_raised(error: WorkerFailed) -> EdgeInferError:
    """What the child raised, so that a wrong name ends with the exit code of one."""
    kind = getattr(errors, error.kind or "", None)
    if isinstance(kind, type) and issubclass(kind, EdgeInferError):
        return kind(str(error))
    return error
