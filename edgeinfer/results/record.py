"""What comes out: one frozen record per frame, and what served it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeinfer.frames import Array, Arrays, FrameId
from edgeinfer.records import dataclass
from edgeinfer.timing import STAGES

# More values than this are summarised, not listed.
_LISTED_VALUES = 1024


class Payload(Protocol):
    """A typed value of a task."""

    def to_dict(self) -> dict[str, Any]: ...


P_co = TypeVar("P_co", bound=Payload, covariant=True)


@dataclass(frozen=True)
class Placement:
    """Which nodes ran where.

    Attributes:
        stage: when they were counted: ``partition`` (as handed to the providers) or ``optimized``
            (as executed, after fusion).
        providers: provider name to op type to count.
    """

    stage: str
    providers: Mapping[str, Mapping[str, int]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "providers": {
                name: {"nodes": sum(ops.values()), "op_types": dict(sorted(ops.items()))}
                for name, ops in self.providers.items()
            },
        }


@dataclass(frozen=True)
class Served:
    """What really runs a model."""

    provider: str
    provider_impl: str
    device: str
    compute_precision: str
    threads: int
    requested_provider: str
    skipped_providers: Mapping[str, str]
    placement: Placement
    fallback: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "provider_impl": self.provider_impl,
            "device": self.device,
            "compute_precision": self.compute_precision,
            "requested_provider": self.requested_provider,
            "skipped_providers": dict(self.skipped_providers),
            "placement": self.placement.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Result(Generic[P_co]):
    """One frame's outcome.

    Attributes:
        value: the task's typed value, in the pixels of the original frame.
        frame: which frame it was.
        task: ``detect``, ``classify``, ``tensor``.
        served: what ran it.
        stages_ns: nanoseconds by stage; a stage that did not happen is missing.
        latency_ns: from the start of preprocess to the typed result.
        age_ns: from capture (or the scheduled arrival) to the result.
        dropped_before: frames that the feed dropped since the previous result.
        flags: what is odd about it (``nonfinite``, ``fallback``, ...).
    """

    value: P_co
    frame: FrameId
    task: str
    served: Served
    stages_ns: Mapping[str, int]
    latency_ns: int
    age_ns: int
    dropped_before: int = 0
    flags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of one frame (schema ``edgeinfer.frame/1``): valid whatever the numbers."""
        value = self.value.to_dict()
        clean, found = finite(value)
        flags = [*self.flags, *(["nonfinite"] if found and "nonfinite" not in self.flags else [])]
        return {
            "schema": "edgeinfer.frame/1",
            "source": self.frame.stream,
            "frame": self.frame.index,
            "media_time_ns": self.frame.media_time_ns,
            "size_wh": None if self.frame.size_wh is None else list(self.frame.size_wh),
            "task": self.task,
            "provider": self.served.provider,
            "dropped_before": self.dropped_before,
            "flags": flags,
            "stages_ns": {stage: self.stages_ns.get(stage) for stage in STAGES},
            "latency_ns": self.latency_ns,
            "age_ns": self.age_ns,
            **clean,
        }


def finite(value: Any) -> tuple[Any, bool]:
    """Replace every number that is not finite by None.

    Returns:
        The cleaned value and whether anything was replaced.
    """
    if isinstance(value, float):
        return (value, False) if math.isfinite(value) else (None, True)
    if isinstance(value, Mapping):
        pairs = {key: finite(item) for key, item in value.items()}
        return {key: item for key, (item, _) in pairs.items()}, any(f for _, f in pairs.values())
    if isinstance(value, (list, tuple)):
        items = [finite(item) for item in value]
        return [item for item, _ in items], any(found for _, found in items)
    return value, False


def label_of(labels: Sequence[str], class_id: int) -> str:
    """The label of a class, or its number where there is none."""
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)


@dataclass(frozen=True, eq=False)
class Classes:
    """The best classes, best first.

    Attributes:
        class_ids: `(K,)` int64.
        scores: `(K,)` float32, probabilities.
        labels: every label of the model.
        flags: ``nonfinite`` where the graph gave numbers that are none.
    """

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    labels: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        rows = zip(self.class_ids.tolist(), self.scores.tolist(), strict=True)
        return {
            "classes": [
                {
                    "label": label_of(self.labels, class_id),
                    "class_id": class_id,
                    "score": round(score, 6),
                }
                for class_id, score in rows
            ]
        }


@dataclass(frozen=True, eq=False)
class Tensors:
    """The model's outputs as they are."""

    outputs: Arrays = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"outputs": {name: _describe(array) for name, array in self.outputs.items()}}


def _describe(array: Array) -> dict[str, Any]:
    known: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.size <= _LISTED_VALUES:
        return {**known, "values": array.ravel().tolist()}
    if array.dtype.kind not in "fiub":
        return {**known, "summary": {"count": array.size}}
    numbers = array.astype(np.float64)
    with np.errstate(all="ignore"):
        summary = {
            "count": array.size,
            "min": float(numbers.min()),
            "max": float(numbers.max()),
            "mean": float(numbers.mean()),
            "std": float(numbers.std()),
        }
    return {**known, "summary": summary}
