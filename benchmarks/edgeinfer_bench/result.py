"""One model's measurement: raw samples and what ran; every statistic is computed from those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edgeinfer.timing import LATENCY_STAGES, STAGES, summarize
from edgeinfer_bench.recorder import Samples

RUN_SCHEMA = "edgeinfer.run/1"
# What Model.summary() says; the rest of schema edgeinfer.run/1 is computed here.
MODEL_KEYS = (
    "model",
    "provider",
    "provider_impl",
    "device",
    "compute_precision",
    "requested_provider",
    "skipped_providers",
    "placement",
    "plan",
    "flags",
)

Summary = Mapping[str, "int | None"]


@dataclass(frozen=True)
class BenchResult:
    """What one model did in one run.

    Attributes:
        label: short and unique in its report.
        scenario: how its frames arrived.
        about: the keys of `MODEL_KEYS`.
        samples_ns: columns by name (``latency``, ``age`` and each stage that happened), one row
            per measured frame in the order of the run; None where a stage did not happen.
        warmup_samples_ns: the same for the frames before those.
        opening_ns: opening the model, until it could take a frame.
        first_frame_ns: latency of the first frame after opening.
        source: what was read, see `Feed.to_dict`.
        block: frames per turn where several models ran interleaved; None for one alone.
        dropped: frames that a feed dropped.
    """

    label: str
    scenario: str
    about: Mapping[str, Any]
    samples_ns: Samples
    warmup_samples_ns: Samples
    opening_ns: int
    first_frame_ns: int
    source: Mapping[str, Any] = field(default_factory=dict)
    block: int | None = None
    dropped: int = 0

    @property
    def frames(self) -> int:
        """How many frames were measured."""
        return len(self.samples_ns["latency"])

    @cached_property
    def latency_ns(self) -> Summary:
        """Count, mean, quantiles and maximum of the frame latency."""
        return _summary(self.samples_ns, "latency")

    @cached_property
    def age_ns(self) -> Summary:
        """The same of the frame age."""
        return _summary(self.samples_ns, "age")

    @cached_property
    def stages_ns(self) -> Mapping[str, Summary]:
        """The same of every stage that happened, in the order in which stages happen."""
        return {
            stage: _summary(self.samples_ns, stage) for stage in STAGES if stage in self.samples_ns
        }

    @property
    def fps(self) -> float:
        """Frames per second of latency alone: reading and decoding lie before it."""
        mean = self.latency_ns["mean"]
        return 0.0 if not mean else 1e9 / mean

    def stage_means(self) -> Mapping[str, float]:
        """Mean nanoseconds per frame of each part of the latency; they add up to its mean.

        What no stage accounts for is the part ``other``.
        """
        n = max(1, self.frames)
        parts = {
            stage: sum(value or 0 for value in self.samples_ns[stage]) / n
            for stage in LATENCY_STAGES
            if stage in self.samples_ns
        }
        whole = sum(value or 0 for value in self.samples_ns["latency"]) / n
        parts["other"] = max(0.0, whole - sum(parts.values()))
        return parts

    def to_dict(self) -> dict[str, Any]:
        """Schema ``edgeinfer.run/1`` and what a benchmark adds to it."""
        return {
            "schema": RUN_SCHEMA,
            "label": self.label,
            "scenario": self.scenario,
            **{key: self.about.get(key) for key in MODEL_KEYS if key not in ("plan", "flags")},
            "frames": self.frames,
            "warmup_frames": len(self.warmup_samples_ns.get("latency", ())),
            "dropped": self.dropped,
            "fps": round(self.fps, 3),
            "latency_ns": dict(self.latency_ns),
            "age_ns": dict(self.age_ns),
            "stages_ns": {stage: dict(summary) for stage, summary in self.stages_ns.items()},
            "plan": self.about.get("plan"),
            "flags": self.about.get("flags"),
            "opening_ns": self.opening_ns,
            "first_frame_ns": self.first_frame_ns,
            "source": dict(self.source),
            "block": self.block,
            "samples_ns": {name: list(column) for name, column in self.samples_ns.items()},
            "warmup_samples_ns": {
                name: list(column) for name, column in self.warmup_samples_ns.items()
            },
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> BenchResult:
        """Read `to_dict` back; statistics are computed again from the samples.

        Raises:
            KeyError: for a key that is missing.
            TypeError: for a value of another type.
        """
        return BenchResult(
            label=str(data["label"]),
            scenario=str(data["scenario"]),
            about={key: data[key] for key in MODEL_KEYS},
            samples_ns=_columns(data["samples_ns"]),
            warmup_samples_ns=_columns(data["warmup_samples_ns"]),
            opening_ns=int(data["opening_ns"]),
            first_frame_ns=int(data["first_frame_ns"]),
            source=dict(data["source"]),
            block=data["block"],
            dropped=int(data["dropped"]),
        )


def _summary(samples: Samples, column: str) -> Summary:
    return summarize(value for value in samples.get(column, ()) if value is not None)


def _columns(data: Any) -> Samples:
    columns = {str(name): tuple(column) for name, column in dict(data).items()}
    if "latency" not in columns:
        raise KeyError("latency")
    rows = len(columns["latency"])
    for name, column in columns.items():
        if len(column) != rows:
            raise TypeError(f"column {name} has {len(column)} rows, latency {rows}")
        if not all(value is None or type(value) is int for value in column):
            raise TypeError(f"column {name} holds something else than integers")
    if None in columns["latency"]:
        raise TypeError("column latency holds null")
    return columns
