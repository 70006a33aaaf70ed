"""What one process measured of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeinfer_bench.recorder import Samples


@dataclass(frozen=True)
class Replicate:
    """Raw samples of one fresh process.

    Attributes:
        samples_ns: columns by name: ``at`` (when work on the frame began, since `began_ns`),
            ``latency``, ``age`` and each stage that happened, one row per measured frame in the
            order of the run; None where a stage did not happen.
        warmup_samples_ns: the same for the frames before those; ``at`` since the first of them.
        opening_ns: opening the model, until it could take a frame.
        first_frame_ns: latency of the first frame after opening, None where there was none.
        began_ns: monotonic clock of the box when measuring began.
        elapsed_ns: how long it measured.
        cpu_ns: processor time of the process meanwhile.
        offered: frames that arrived; those dropped are among them.
        drops_at_ns: when each dropped frame was dropped, since `began_ns`.
        turns: answered frames of each turn: several models took turns, and one alone had a few.
        turns_ns: how long each turn took.
        streams: the stream of each row where there are several, else empty.
        back_to_back_ns: latencies of frames back to back, taken right before frames were paced.
        evidence: what speaks for or against it: ``outputs_compared``, ``outputs_changed``,
            ``fallback``, ``ended``, ``flagged_frames``, ``fresh_ns``, ``again_ns``; the file that
            ran, ``model_sha256``; ``error`` where it broke down half-way.
    """

    samples_ns: Samples
    warmup_samples_ns: Samples
    opening_ns: int
    first_frame_ns: int | None
    began_ns: int
    elapsed_ns: int
    cpu_ns: int = 0
    offered: int = 0
    drops_at_ns: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()
    turns_ns: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    back_to_back_ns: tuple[int, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """How many frames were measured."""
        return len(self.samples_ns["latency"])

    def column(self, name: str) -> list[int]:
        """The samples of a column that happened."""
        return [value for value in self.samples_ns.get(name, ()) if value is not None]

    def by_turn(self, name: str) -> list[list[int]]:
        """The samples of a column, turn by turn."""
        values, found, start = self.samples_ns[name], [], 0
        for count in self.turns:
            found.append([value for value in values[start : start + count] if value is not None])
            start += count
        return found

    def to_dict(self) -> dict[str, Any]:
        return {
            "opening_ns": self.opening_ns,
            "first_frame_ns": self.first_frame_ns,
            "began_ns": self.began_ns,
            "elapsed_ns": self.elapsed_ns,
            "cpu_ns": self.cpu_ns,
            "offered": self.offered,
            "evidence": dict(self.evidence),
            "drops_at_ns": list(self.drops_at_ns),
            "turns": list(self.turns),
            "turns_ns": list(self.turns_ns),
            "streams": list(self.streams),
            "back_to_back_ns": list(self.back_to_back_ns),
            "samples_ns": {name: list(column) for name, column in self.samples_ns.items()},
            "warmup_samples_ns": {
                name: list(column) for name, column in self.warmup_samples_ns.items()
            },
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Replicate:
        """Read `to_dict` back.

        Raises:
            KeyError: for a key that is missing.
            TypeError: for a value of another type.
        """
        first = data["first_frame_ns"]
        samples = columns_from(data["samples_ns"])
        streams = _whole("streams", data["streams"])
        if streams and len(streams) != len(samples["latency"]):
            raise TypeError(f"{len(streams)} rows name their stream, not all")
        turns = _whole("turns", data["turns"])
        if sum(turns) != len(samples["latency"]):
            raise TypeError(f"the turns hold {sum(turns)} frames, not all")
        return Replicate(
            samples_ns=samples,
            warmup_samples_ns=columns_from(data["warmup_samples_ns"]),
            opening_ns=int(data["opening_ns"]),
            first_frame_ns=None if first is None else int(first),
            began_ns=int(data["began_ns"]),
            elapsed_ns=int(data["elapsed_ns"]),
            cpu_ns=int(data["cpu_ns"]),
            offered=int(data["offered"]),
            drops_at_ns=_whole("drops_at_ns", data["drops_at_ns"]),
            turns=turns,
            turns_ns=_whole("turns_ns", data["turns_ns"]),
            streams=streams,
            back_to_back_ns=_whole("back_to_back_ns", data["back_to_back_ns"]),
            evidence=dict(data["evidence"]),
        )


def _whole(name: str, column: Any) -> tuple[int, ...]:
    values = tuple(column)
    if not all(type(value) is int for value in values):
        raise TypeError(f"{name} holds something else than integers")
    return values


def columns_from(data: Any) -> Samples:
    """Columns as read from JSON, checked; errors as of `Replicate.from_dict`."""
    columns = {str(name): tuple(column) for name, column in dict(data).items()}
    for required in ("at", "latency", "age"):
        if required not in columns:
            raise KeyError(required)
        if None in columns[required]:
            raise TypeError(f"column {required} holds null")
    rows = len(columns["latency"])
    for name, column in columns.items():
        if len(column) != rows:
            raise TypeError(f"column {name} has {len(column)} rows, latency {rows}")
        if not all(value is None or type(value) is int for value in column):
            raise TypeError(f"column {name} holds something else than integers")
    return columns
