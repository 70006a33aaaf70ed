"""A way of running a model on this box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from edgeinfer.records import dataclass

PREPROCESS = ("host", "graph")
OBJECTIVES = ("latency", "throughput", "efficiency")


@dataclass(frozen=True)
class Plan:
    """What a model was opened with.

    Attributes:
        source: ``default``, ``tuned`` (a stored measurement) or ``options`` (the user said so).
        threads: of the process.
        sessions: how many share the work.
        lanes: how many inferences run at once; each has threads / lanes to itself.
        preprocess: ``host`` or ``graph``: where scaling and channel order are computed.
        spinning: whether idle threads of the pool wait busily.
    """

    source: str
    threads: int
    sessions: int = 1
    preprocess: str = "host"
    lanes: int = 1
    spinning: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """Everything that `tune` may choose: what a candidate is, and what a plan holds.

    Attributes:
        provider: name, with ``:device`` where it was chosen.
        threads: of the process. lanes: inferences at once, which share the threads.
        spinning: whether idle threads wait busily.
        preprocess: ``host`` or ``graph``.
        options: the provider's own.
        variant: sha256 of the file that runs. path: where it was found.
        precision: of that file: ``fp32``, ``int8``, ...; empty where it does not say.
    """

    provider: str
    threads: int
    variant: str
    path: Path
    precision: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    spinning: bool = True
    lanes: int = 1
    preprocess: str = "host"

    @property
    def key(self) -> str:
        """A text that no other choice has."""
        options = ",".join(f"{k}={v}" for k, v in sorted(self.options.items()))
        return (
            f"{self.provider}[{options}] {self.variant} t{self.threads} l{self.lanes} "
            f"{'spin' if self.spinning else 'block'} {self.preprocess}"
        )

    def text(self) -> str:
        """For people: ``cpu, int8, 2 threads, preprocessing in the graph``."""
        options = [f"{k}={v}" for k, v in sorted(self.options.items())]
        parts = [self.provider, *options, self.precision, f"{self.threads} threads"]
        if self.threads == 1:
            parts[-1] = "1 thread"
        if not self.spinning:
            parts.append("idle threads sleep")
        if self.lanes > 1:
            parts.append(f"{self.lanes} inferences at once")
        if self.preprocess == "graph":
            parts.append("preprocessing in the graph")
        return ", ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "options": dict(self.options),
            "threads": self.threads,
            "sessions": 1,
            "lanes": self.lanes,
            "spinning": self.spinning,
            "preprocess": self.preprocess,
            "variant": self.variant,
            "path": str(self.path),
            "precision": self.precision,
        }


def choice_from(data: Mapping[str, Any]) -> Choice:
    """Read what `Choice.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: for what it did not write.
    """
    if data["preprocess"] not in PREPROCESS or data["sessions"] != 1:
        raise ValueError("preprocess or sessions")
    choice = Choice(
        provider=str(data["provider"]),
        threads=int(data["threads"]),
        variant=str(data["variant"]),
        path=Path(data["path"]),
        precision=str(data["precision"]),
        options={str(key): str(value) for key, value in dict(data["options"]).items()},
        spinning=bool(data["spinning"]),
        lanes=int(data["lanes"]),
        preprocess=data["preprocess"],
    )
    if choice.threads < 1 or choice.lanes < 1:
        raise ValueError("threads or lanes")
    return choice
