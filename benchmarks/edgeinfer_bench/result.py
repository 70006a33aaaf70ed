"""One model's measurement: raw samples and what ran; every statistic is computed from those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edgeinfer.timing import LATENCY_STAGES, STAGES, summarize
from edgeinfer_bench.recorder import Samples, late
from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.stats import Interval, intervals

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
    "peer",
)

Summary = Mapping[str, "int | None"]
_SURELY_LATE = 2.0


@dataclass(frozen=True)
class BenchResult:
    """What one model did in one run.

    Attributes:
        label: short and unique in its report.
        scenario: how its frames arrived.
        about: the keys of `MODEL_KEYS`; ``peer`` (name, version, agreement) where it is none of
            ours.
        replicates: what each process measured; at least one.
        source: what was read, see `Feed.to_dict`.
        block: frames per turn where several models ran interleaved; None for one alone.
        arrival: how frames arrived, where that was set: ``fps``, ``streams``, ``policy``,
            ``drops_asked``, ``deadline_ns`` (paced); ``rate``, ``rate_failed`` (the lowest
            that did not hold), ``target_ns``, ``quantile``, ``trials`` (server); ``lanes``.
        operators: time of each operator, see `operators.profile_operators`; None: not looked at.
        energy: ``source``, ``joules_per_frame``; None where the box does not tell.
    """

    label: str
    scenario: str
    about: Mapping[str, Any]
    replicates: tuple[Replicate, ...]
    source: Mapping[str, Any] = field(default_factory=dict)
    block: int | None = None
    arrival: Mapping[str, Any] = field(default_factory=dict)
    operators: Mapping[str, Any] | None = None
    energy: Mapping[str, Any] | None = None

    @cached_property
    def samples_ns(self) -> Samples:
        """Columns by name (``at``, ``latency``, ``age`` and each stage that happened), one row per
        measured frame, process after process; None where a stage did not happen."""
        return _joined([replicate.samples_ns for replicate in self.replicates])

    @cached_property
    def warmup_samples_ns(self) -> Samples:
        """The same for the frames before those."""
        return _joined([replicate.warmup_samples_ns for replicate in self.replicates])

    @property
    def frames(self) -> int:
        """How many frames were measured."""
        return sum(replicate.frames for replicate in self.replicates)

    @property
    def dropped(self) -> int:
        """How many frames were dropped."""
        return sum(len(replicate.drops_at_ns) for replicate in self.replicates)

    @property
    def opening_ns(self) -> int:
        """Opening the model in the first process, until it could take a frame."""
        return self.replicates[0].opening_ns

    @property
    def first_frame_ns(self) -> int | None:
        """Latency of the first frame after that."""
        return self.replicates[0].first_frame_ns

    @property
    def headline(self) -> str:
        """What users wait for: ``age`` where frames arrive by themselves, else ``latency``."""
        return "age" if self.scenario in ("paced", "server") else "latency"

    @cached_property
    def latency_ns(self) -> Summary:
        """Count, mean, quantiles and maximum of the frame latency."""
        return _summary(self.samples_ns, "latency")

    @cached_property
    def age_ns(self) -> Summary:
        """The same of the frame age."""
        return _summary(self.samples_ns, "age")

    @property
    def headline_ns(self) -> Summary:
        """The same of what users wait for."""
        return self.age_ns if self.headline == "age" else self.latency_ns

    @cached_property
    def stages_ns(self) -> Mapping[str, Summary]:
        """The same of every stage that happened, in the order in which stages happen."""
        return {
            stage: _summary(self.samples_ns, stage) for stage in STAGES if stage in self.samples_ns
        }

    @cached_property
    def ci95_ns(self) -> Mapping[str, Mapping[str, Interval]]:
        """95% intervals of the mean and the quantiles that may be stated, of latency and age."""
        return {
            column: intervals([replicate.column(column) for replicate in self.replicates])
            for column in dict.fromkeys(("latency", self.headline))
        }

    @property
    def missed(self) -> int | None:
        """Frames answered after their deadline, dropped ones not counted; None without one."""
        deadline = self.arrival.get("deadline_ns")
        if deadline is None:
            return None
        return late(self.samples_ns, deadline)

    @property
    def fps(self) -> float:
        """Frames per second: of ``single`` by latency alone (reading and decoding lie before it),
        else as they were answered."""
        if self.scenario == "single":
            mean = self.latency_ns["mean"]
            return 0.0 if not mean else 1e9 / mean
        elapsed = sum(replicate.elapsed_ns for replicate in self.replicates)
        return 0.0 if not elapsed else self.frames * 1e9 / elapsed

    @property
    def shown(self) -> str:
        """How often the frames of the source were shown in a process: ``once``, ``5 times``, ``4 to
        5 times``."""
        each = [item.evidence.get("source_loops") for item in self.replicates]
        loops = [int(count) for count in each if count is not None]
        counts = sorted(count + 1 for count in loops or [int(self.source.get("loops") or 0)])
        if counts[-1] == 1:
            return "once"
        fewest = f"{counts[0]} to " if counts[0] < counts[-1] else ""
        return f"{fewest}{counts[-1]} times"

    @property
    def rate_held(self) -> bool | None:
        """Of a server: whether the rate that its search found held when it was measured, where
        up to twice the share of late frames is chance, since they come in groups; None where no
        rate was found."""
        rate, target = self.arrival.get("rate"), self.arrival.get("target_ns")
        if not rate or target is None:
            return None
        share = 1 - float(self.arrival.get("quantile", 0.99))
        return late(self.samples_ns, target) <= _SURELY_LATE * share * self.frames

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
            "warmup_frames": len(self.warmup_samples_ns["latency"]),
            "dropped": self.dropped,
            "missed": self.missed,
            "fps": round(self.fps, 3),
            "latency_ns": dict(self.latency_ns),
            "age_ns": dict(self.age_ns),
            "stages_ns": {stage: dict(summary) for stage, summary in self.stages_ns.items()},
            "ci95_ns": {
                column: {name: list(interval) for name, interval in found.items()}
                for column, found in self.ci95_ns.items()
            },
            "plan": self.about.get("plan"),
            "flags": self.about.get("flags"),
            "opening_ns": self.opening_ns,
            "first_frame_ns": self.first_frame_ns,
            "source": dict(self.source),
            "block": self.block,
            "arrival": dict(self.arrival),
            "operators": None if self.operators is None else dict(self.operators),
            "energy": None if self.energy is None else dict(self.energy),
            "replicates": [replicate.to_dict() for replicate in self.replicates],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> BenchResult:
        """Read `to_dict` back; statistics are computed again from the samples.

        Raises:
            KeyError: for a key that is missing.
            TypeError: for a value of another type.
            ValueError: for a result of no process.
        """
        replicates = tuple(Replicate.from_dict(item) for item in data["replicates"])
        if not replicates:
            raise ValueError("a result holds no replicate")
        return BenchResult(
            label=str(data["label"]),
            scenario=str(data["scenario"]),
            about={key: data.get(key) for key in MODEL_KEYS},
            replicates=replicates,
            source=dict(data["source"]),
            block=data["block"],
            arrival=dict(data["arrival"]),
            operators=None if data["operators"] is None else dict(data["operators"]),
            energy=None if data["energy"] is None else dict(data["energy"]),
        )


def _summary(samples: Samples, column: str) -> Summary:
    return summarize(value for value in samples.get(column, ()) if value is not None)


def _joined(parts: list[Samples]) -> Samples:
    """Columns of several processes one after the other."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: tuple(
            value
            for part in parts
            for value in part.get(name, (None,) * len(part.get("latency", ())))
        )
        for name in names
    }
