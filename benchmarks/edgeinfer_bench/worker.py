"""The child that measures one model: it does as it is told, line by line.

A line of JSON on stdin is a command, one on stdout its answer: ``{"ok": true, ...}``, or
``{"error": "why not", "kind": "UsageError"}``. It ends when stdin does.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer import cache
from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Frame
from edgeinfer.model import LoadOptions
from edgeinfer.tune.worker import options_from
from edgeinfer_bench.entries import entry_for
from edgeinfer_bench.feed import Feed, keep
from edgeinfer_bench.order import Order
from edgeinfer_bench.rig import Rig
from edgeinfer_bench.subject import Subject

if TYPE_CHECKING:
    from edgeinfer_bench.peers.witness import Witness

_PR_SET_TIMERSLACK = 29


class Worker:
    """One model of one replicate."""

    def __init__(self) -> None:
        self._rig: Rig | None = None
        self._witness: Witness | None = None

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command.

        Raises:
            EdgeInferError: whatever the model or the source says.
        """
        if command["do"] == "open":
            return self._open(command)
        if command["do"] == "operators":
            return self._operators(command)
        if command["do"] == "witness":
            return self._begin_witness(command)
        if command["do"] == "agree":
            assert self._witness is not None
            return self._witness.agree(command["answers"], command["head"], command["precision"])
        assert self._rig is not None
        if command["do"] == "finish":
            return dataclasses.asdict(self._rig.finish())
        return {"turn": self._rig.measure(Order(**command["order"])).to_dict()}

    def _open(self, command: Mapping[str, Any]) -> dict[str, Any]:
        entry = entry_for(
            Path(command["path"]), command["source"], _options(command), _wrap(command["wrap"])
        )
        self._rig = Rig(entry, command["warmup"], command["most_frames"])
        return dict(vars(self._rig.open()))

    def _begin_witness(self, command: Mapping[str, Any]) -> dict[str, Any]:
        from edgeinfer_bench.peers.witness import Witness

        entry = entry_for(Path(command["path"]), command["source"], _options(command))
        self._witness = Witness(entry, Path(command["folder"]))
        return self._witness.about()

    def _operators(self, command: Mapping[str, Any]) -> dict[str, Any]:
        from edgeinfer_bench.operators import profile_operators

        path, options = Path(command["path"]), _options(command)
        entry = entry_for(path, command["source"], options)
        model = entry.open_model()
        feed = Feed(entry.open_source(model), most=command["frames"])
        model.close()
        frames: list[Frame] = []
        while len(frames) < command["frames"] and (frame := feed.next()) is not None:
            frames.append(keep(frame))
        feed.close()
        return {"operators": profile_operators(path, options, frames)}


def _options(command: Mapping[str, Any]) -> LoadOptions:
    cache.set_root(Path(command["cache"]))
    options = options_from(command["options"])
    return dataclasses.replace(options, variants=tuple(map(Path, command["variants"])))


def _wrap(name: str | None) -> Callable[[Subject], Subject] | None:
    """What stands between the harness and the model: tests plant faults there."""
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    wrap: Callable[[Subject], Subject] = getattr(importlib.import_module(module), attribute)
    return wrap


def _wake_on_time() -> None:
    """Linux lets a sleeper lie 50 microseconds longer, to wake several at once; not this one, whose
    frames are due (prctl(2), PR_SET_TIMERSLACK)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


def main() -> None:
    """Serve until stdin ends."""
    _wake_on_time()
    # Libraries print to stdout; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = {"ok": True, **worker.do(json.loads(line))}
        except EdgeInferError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
