"""The stored choice for a model on this box, and what a model was opened with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeinfer import cache
from edgeinfer.machine import this_machine
from edgeinfer.version import __version__

PREPROCESS = ("host", "graph")


@dataclass(frozen=True)
class Plan:
    """What a model was opened with.

    Attributes:
        source: ``default``, ``tuned`` (a stored measurement) or ``options`` (the user said so).
        threads: of the process.
        sessions: how many share the work.
        lanes: how many inferences run at once; each has threads / lanes to itself.
        preprocess: ``host`` or ``graph``: where scaling and channel order are computed.
    """

    source: str
    threads: int
    sessions: int = 1
    preprocess: str = "host"
    lanes: int = 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_key(*parts: object) -> str:
    """A name for what was measured: the parts, this box and the versions that take part."""
    machine = this_machine()
    return cache.key_of(
        *parts,
        __version__,
        machine.cpu,
        machine.cpus,
        machine.quota_cpus,
        machine.kernel,
    )


def stored_preprocess(key: str) -> str | None:
    """Where preprocessing was measured to be faster, or None where nobody measured."""
    found = (cache.recall("plans", key) or {}).get("preprocess")
    return found if found in PREPROCESS else None


def store_plan(key: str, preprocess: str, evidence: Mapping[str, Any]) -> None:
    """Keep a choice with the measurements that justify it."""
    cache.note("plans", key, {"preprocess": preprocess, "evidence": dict(evidence)})
