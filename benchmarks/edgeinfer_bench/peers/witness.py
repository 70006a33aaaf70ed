"""In a child: writes the frames that peers get, and compares what they answer with edgeinfer's own
results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgeinfer.frames import Frame
from edgeinfer.model import Model
from edgeinfer_bench.feed import Feed
from edgeinfer_bench.peers.agree import agreement
from edgeinfer_bench.subject import Entry

# Enough to see a model at work, few enough for every process to hold them.
MOST_FRAMES = 32
# What a peer says of its precision where it runs the file as it is.
_OF_THE_FILE = "as the file"


class Witness:
    """Runs the model once on every frame.

    Args:
        folder: where the frames are written, numbered; close() lets the model go.
    """

    def __init__(self, entry: Entry, folder: Path) -> None:
        self._model = cast(Model, entry.open_model())
        feed = Feed(entry.open_source(self._model), most=MOST_FRAMES)
        self._frames: list[Frame] = []
        for _ in range(feed.kept or 0):
            frame = feed.next()
            assert frame is not None  # it holds so many
            _write(folder / str(len(self._frames)), frame)
            self._frames.append(frame)
        self._source = feed.to_dict()
        feed.close()

    def about(self) -> dict[str, Any]:
        """What a peer must know of the model."""
        model = self._model
        return {
            "spec": model.spec.to_dict(),
            "input_shape": list(model.fed_inputs[0].shape) if model.fed_inputs else [],
            "threads": model.plan.threads,
            "summary": model.summary(),
            "source": self._source,
        }

    def agree(
        self, answers: Sequence[Mapping[str, Any]], head: str, precision: str
    ) -> dict[str, Any]:
        """How far a peer's answers are the model's own.

        Args:
            head: of the peer; ``tensor`` stops at the raw outputs.
            precision: that it computes in.
        """
        if head == "tensor":
            ours: list[Any] = [self._model.raw(frame) for frame in self._frames]
        else:
            ours = [self._model(frame).value for frame in self._frames]
        if precision == _OF_THE_FILE:
            precision = self._model.spec.precision or "fp32"
        coarser = max((precision, self._model.served.compute_precision), key=_coarseness)
        threshold = float(self._model.spec.thresholds.get("score", 0.25))
        found = agreement(answers, ours, precision=coarser, score_threshold=threshold)
        return found.to_dict()

    def close(self) -> None:
        """Let the model go."""
        self._model.close()


def _coarseness(precision: str) -> int:
    from edgeinfer.tune.parity import rank

    return int(rank(precision))


def _write(path: Path, frame: Frame) -> None:
    """As `edgeinfer.tune.frames` writes them: names of inputs may be no names of files."""
    if isinstance(frame.data, np.ndarray):
        np.save(path.with_suffix(".npy"), frame.data)
        return
    arrays: dict[str, Any] = {f"a{at}": array for at, array in enumerate(frame.data.values())}
    np.savez(path.with_suffix(".npz"), names=np.array(list(frame.data)), **arrays)
