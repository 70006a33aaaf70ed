"""One model of one replicate as the harness sees it: a process, and the turns it has had."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.recorder import Samples
from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.rig import Closing, Opened, Process

_EMPTY: Samples = {"at": (), "latency": (), "age": ()}


@dataclass(eq=False)
class Bout:
    """A process that is measured.

    Attributes:
        label: of the model.
        turns: what counts. reference: frames back to back, taken before those.
        error: why it stopped before its time.
        periods: from when to when it measured, on the box's clock.
    """

    label: str
    process: Process
    opened: Opened | None = None
    closing: Closing | None = None
    turns: list[Turn] = field(default_factory=list)
    reference: Turn = field(default_factory=Turn)
    error: str | None = None
    ended: bool = False

    def open(self) -> None:
        """Open the model and warm up; raises what the process raises."""
        self.opened = self.process.open()

    @property
    def know(self) -> Opened:
        """What is known since it is open."""
        assert self.opened is not None
        return self.opened

    @property
    def frames(self) -> int:
        """Frames that arrived so far."""
        return sum(turn.offered for turn in self.turns)

    @property
    def elapsed_ns(self) -> int:
        """How long it measured so far."""
        return sum(turn.elapsed_ns for turn in self.turns)

    @property
    def over(self) -> bool:
        """Whether it cannot go on."""
        return self.ended or self.error is not None

    @property
    def periods(self) -> list[tuple[int, int]]:
        return [(turn.began_ns, turn.began_ns + turn.elapsed_ns) for turn in self.turns]

    def try_order(self, order: Order) -> Turn:
        """A turn that does not count; what it ends by is kept all the same.

        Raises:
            UsageError: if the process does not take such orders.
        """
        try:
            turn = self.process.measure(order)
        except UsageError:
            raise
        except EdgeInferError as error:
            turn = Turn(error=str(error))
        self.error = self.error or turn.error
        self.ended = self.ended or turn.ended
        return turn

    def measure(self, order: Order) -> Turn:
        """A turn that counts."""
        turn = self.try_order(order)
        if turn.frames or turn.offered:
            self.turns.append(turn)
        elif self.error is None:
            self.ended = True  # nothing came, and nothing will
        return turn

    def finish(self) -> None:
        """Let the process look at its outputs once more, unless it is gone."""
        if self.error is None:
            try:
                self.closing = self.process.finish()
            except EdgeInferError as error:
                self.error = str(error)

    def replicate(self) -> Replicate:
        """What it came to."""
        warm = self.know.warmup_samples_ns
        began = self.turns[0].began_ns if self.turns else 0
        joined = _joined([turn.samples_ns for turn in self.turns], began)
        first = next(iter(warm["latency"] or joined["latency"]), None)
        evidence = {} if self.closing is None else dict(self.closing.evidence)
        evidence.update(ended=self.ended, settled=self.know.settled)
        evidence["model_sha256"] = (self.know.about.get("model") or {}).get("sha256")
        if self.error is not None:
            evidence["error"] = self.error
        return Replicate(
            samples_ns=joined,
            warmup_samples_ns=warm,
            opening_ns=self.know.opening_ns,
            first_frame_ns=first,
            began_ns=began,
            elapsed_ns=self.elapsed_ns,
            cpu_ns=sum(turn.cpu_ns for turn in self.turns),
            offered=self.frames,
            drops_at_ns=tuple(at - began for turn in self.turns for at in turn.drops_at_ns),
            turns=tuple(turn.frames for turn in self.turns),
            turns_ns=tuple(turn.elapsed_ns for turn in self.turns),
            streams=tuple(itertools.chain.from_iterable(turn.streams for turn in self.turns)),
            back_to_back_ns=tuple(
                value for value in self.reference.samples_ns.get("latency", ()) if value is not None
            ),
            evidence=evidence,
        )


def _joined(parts: list[Samples], began: int) -> Samples:
    """The turns one after the other, times counted from the first."""
    names = dict.fromkeys([*_EMPTY, *(name for part in parts for name in part)])
    columns: dict[str, tuple[int | None, ...]] = {}
    for name in names:
        values: list[int | None] = []
        for part in parts:
            values += part.get(name, (None,) * len(part["latency"]))
        columns[name] = tuple(values)
    columns["at"] = tuple(None if at is None else max(0, at - began) for at in columns["at"])
    return columns
