"""One choice in a process of its own: opened, checked against the reference, measured in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from edgeinfer import cache
from edgeinfer.child import Child
from edgeinfer.errors import ProviderError
from edgeinfer.machine.energy import energy_nj
from edgeinfer.model import LoadOptions
from edgeinfer.plan import Choice
from edgeinfer.remote import Remote
from edgeinfer.timing import summarize, typical
from edgeinfer.tune.parity import Answers, rank, read_answers
from edgeinfer.tune.race import Block, Standing
from edgeinfer.tune.worker import options_to

# An engine that may be built takes minutes; anything else that takes so long hangs.
_OPEN_S = 120.0
_BUILD_S = 3600.0
_WORK_S = 120.0
_BLOCK_NS = 150_000_000
_RATE_NS = 400_000_000
_MOST_FRAMES = 200


@dataclass
class Pace:
    """How blocks are measured.

    Attributes:
        objective: of `TuneOptions`.
        interval_ns: between paced frames, 0 for one after the other.
        block_ns: about how long a block lasts.
        joules: whether efficiency counts energy; else processor time.
    """

    objective: str
    interval_ns: int = 0
    block_ns: int = _BLOCK_NS
    joules: bool = False


@dataclass
class Candidate:
    """A choice, and all that is found out about it.

    Attributes:
        parity: figures against the reference, None before.
        rejected: why it is never chosen, None while it may be. It also says who lost.
        standing: how it did in the last race that it took part in.
        paced: whether the last race was of paced frames.
    """

    choice: Choice
    opened: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 0
    parity: dict[str, Any] | None = None
    rejected: str | None = None
    standing: Standing | None = None
    paced: bool = False
    pace: Pace = field(default_factory=lambda: Pace("latency"))
    _remote: Remote | None = None
    _frame_ns: int = 0
    _last_cost: int = 1

    @property
    def name(self) -> str:
        return self.choice.key

    @property
    def alive(self) -> bool:
        return self._remote is not None

    @property
    def precision(self) -> str:
        """What it computes in, or what its file was brought to, whichever is coarser: weights
        that were rounded to integers stay so where a provider computes in floats."""
        computed = str(self.opened["served"]["compute_precision"])
        return max(computed, self.choice.precision, key=rank)

    @property
    def memory_bytes(self) -> int:
        return int(self.opened.get("memory_bytes", 0))

    def start(self, options: LoadOptions, build: bool) -> None:
        """Begin to open it; `finish` waits for that."""
        choice = self.choice
        asked = dataclasses.replace(
            options,
            provider=choice.provider,
            provider_options=choice.options,
            allow_fallback=False,
            threads=choice.threads,
            lanes=choice.lanes,
            spinning=choice.spinning,
            preprocess=choice.preprocess,
            use_plan=False,
            build=build,
        )
        self._remote = Remote(Child("edgeinfer.tune.worker"))
        self._remote.tell(
            {
                "do": "open",
                "path": str(choice.path),
                "options": options_to(asked),
                "cache": str(cache.root().parent),
            }
        )

    def finish(self, build: bool) -> None:
        """Wait until it is open.

        Raises:
            EdgeInferError: why it cannot be opened, or died or hung over it.
        """
        self.opened = self._hear(_BUILD_S if build else _OPEN_S)

    def begin_answers(self, frames: Path, folder: Path) -> None:
        """Let it answer every frame; `answers` waits for that."""
        self._ask({"do": "frames", "folder": str(frames)})
        self._tell({"do": "answers", "folder": str(folder)})

    def answers(self, count: int, folder: Path) -> list[Answers]:
        """What it said.

        Raises:
            EdgeInferError: if it died or hung over it.
        """
        said = self._hear(_WORK_S)
        self.opened = {**self.opened, "memory_bytes": said["memory_bytes"]}
        return read_answers(folder, count, len(said["outputs"]))

    def evaluate(self, dataset: str) -> dict[str, Any]:
        """The task's metric on labelled data, as `open_dataset` names them from this folder."""
        asked = {"do": "evaluate", "dataset": dataset, "folder": str(Path.cwd())}
        return self._ask(asked, _BUILD_S)

    def estimate(self) -> None:
        """Find out about how long a frame takes, so that blocks are of one length for all."""
        answer = self._ask({"do": "block", "frames": 2, "interval_ns": 0})
        self._frame_ns = max(1, min(answer["samples"]))

    @property
    def frame_ns(self) -> int:
        return self._frame_ns

    def block(self) -> Block:
        """Measure a block at its pace.

        Raises:
            EdgeInferError: if it cannot go on.
        """
        pace = self.pace
        if pace.objective == "throughput":
            length_ns = max(min(_RATE_NS, 3 * pace.block_ns), pace.block_ns)
            wanted = length_ns * self.choice.lanes // self._frame_ns
            frames = _between(wanted, 4 * self.choice.lanes)
            answer = self._ask({"do": "rate", "frames": frames})
            return Block(round(1e9 / max(1e-9, answer["fps"])), (), answer["cpu_ns"] // frames)
        frames = _between(pace.block_ns // max(self._frame_ns, pace.interval_ns), 2)
        before = energy_nj() if pace.joules else None
        answer = self._ask({"do": "block", "frames": frames, "interval_ns": pace.interval_ns})
        after = energy_nj() if pace.joules else None
        samples = tuple(max(1, int(sample)) for sample in answer["samples"])
        cpu_ns = max(1, answer["cpu_ns"] // frames)
        if before is not None and after is not None:
            # The counter begins anew at some point: such a block counts as the one before it.
            cost = (after - before) // frames if after > before else self._last_cost
        else:
            cost = cpu_ns if pace.objective == "efficiency" else round(median(samples))
        self._last_cost = max(1, cost)
        return Block(self._last_cost, samples, cpu_ns)

    def _tell(self, command: Mapping[str, Any]) -> None:
        if self._remote is None:
            raise ProviderError(self.rejected or "it is closed")
        self._remote.tell(command)

    def _hear(self, timeout_s: float) -> dict[str, Any]:
        assert self._remote is not None
        return self._remote.hear(timeout_s)

    def _ask(self, command: Mapping[str, Any], timeout_s: float = _WORK_S) -> dict[str, Any]:
        self._tell(command)
        return self._hear(timeout_s)

    def reject(self, reason: str) -> None:
        """Never choose it, and end its process."""
        self.rejected = self.rejected or reason
        self.close()

    def close(self) -> None:
        """End its process; a second call does nothing."""
        if self._remote is not None:
            self._remote.close()
            self._remote = None

    def to_dict(self) -> dict[str, Any]:
        """Its line of the plan's document; ``typical_ns`` is the mean where p50 has too few
        frames to be stated."""
        blocks = self.standing.blocks if self.standing else []
        samples = [sample for block in blocks for sample in block.samples_ns]
        figures = summarize(samples)
        cost = self.standing.cost_ns if blocks and self.standing else None
        frame_ns = cost if self.pace.objective == "throughput" else typical(figures)
        return {
            **self.choice.to_dict(),
            "compute_precision": self.opened["served"]["compute_precision"]
            if self.opened
            else None,
            "provider_impl": self.opened["served"]["provider_impl"] if self.opened else None,
            "typical_ns": typical(figures),
            "p50_ns": figures["p50"],
            "p90_ns": figures["p90"],
            "p95_ns": figures["p95"],
            "p99_ns": figures["p99"],
            "fps": round(1e9 / frame_ns, 3) if frame_ns else None,
            "cpu_ns": round(median(block.cpu_ns for block in blocks)) if blocks else None,
            "cost_ns": None if cost is None else round(cost),
            "frames": len(samples),
            "paced": self.paced,
            "opening_ns": self.opened.get("opening_ns"),
            "memory_bytes": self.opened.get("memory_bytes"),
            "parity": self.parity,
            "rejected": self.rejected,
        }


def _between(wanted: int, least: int) -> int:
    return max(least, min(_MOST_FRAMES, int(wanted)))
