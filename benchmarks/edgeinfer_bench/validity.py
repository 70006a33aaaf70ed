"""Can the numbers be trusted? What was seen, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.boxverdict import judge_box, throttled_spans
from edgeinfer_bench.probe import from_cache
from edgeinfer_bench.recorder import late
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.scenarios.server import QUANTILE
from edgeinfer_bench.stats import MIN_PROCESSES, statable
from edgeinfer_bench.warmup import still_warming

VALID = "VALID"
INVALID = "INVALID"
# The fewest samples whose median may be stated: n (1 - q) >= 10.
_MIN_FRAMES = 20
# A rate that answers less than this share of what arrives is not held.
_KEPT_UP = 0.98


@dataclass(frozen=True)
class Validity:
    """A verdict and what it rests on.

    Attributes:
        reasons: why the numbers are INVALID; none means VALID.
        notes: what a reader should know all the same.
        evidence: what was measured about the run itself.
    """

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return INVALID if self.reasons else VALID

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "evidence": dict(self.evidence),
        }


def judge(
    results: Sequence[BenchResult],
    samples: Sequence[tuple[int, BoxState]],
    periods: Sequence[tuple[int, int]],
    broken: Sequence[str] = (),
) -> Validity:
    """Judge a run by what the box did meanwhile and by what the models did.

    Args:
        samples: the state of the box at moments of its clock.
        periods: from when to when something was measured.
        broken: why the run ended before its time.
    """
    box = judge_box(samples, periods)
    reasons, notes = [*broken, *box.reasons], list(box.notes)
    for result in results:
        for check in _REASONS:
            text = check(result)
            if text is not None:
                reasons.append(f"{result.label}: {text}")
        for look in _NOTES:
            notes += [f"{result.label}: {text}" for text in look(result)]
    models = {result.label: _seen(result) for result in results}
    return Validity(
        tuple(dict.fromkeys(reasons)),
        tuple(dict.fromkeys(notes)),
        {**box.evidence, "throttled_spans": throttled_spans(samples, periods), "models": models},
    )


def _sum(result: BenchResult, key: str) -> int:
    return sum(int(item.evidence.get(key) or 0) for item in result.replicates)


def _flags(result: BenchResult) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in result.replicates:
        for flag, count in (item.evidence.get("flagged_frames") or {}).items():
            found[flag] = found.get(flag, 0) + count
    return found


def _seen(result: BenchResult) -> dict[str, Any]:
    return {
        "frames": result.frames,
        "fallback": any(item.evidence.get("fallback") for item in result.replicates),
        "outputs_compared": _sum(result, "outputs_compared"),
        "outputs_changed": _sum(result, "outputs_changed"),
        "source_loops": _sum(result, "source_loops"),
        "flagged_frames": _flags(result),
    }


def _failed(result: BenchResult) -> str | None:
    errors = [str(item.evidence["error"]) for item in result.replicates if "error" in item.evidence]
    if not errors:
        return None
    return f"it failed after {result.frames:,} frames: {errors[0]}"


def _replaced(result: BenchResult) -> str | None:
    hashes = {item.evidence.get("model_sha256"): None for item in result.replicates}
    ran = [str(value)[:12] for value in hashes if value]
    if len(ran) < 2:
        return None
    return (
        f"its file was replaced during the run: processes ran {len(ran)} different files (sha256 "
        f"{', '.join(ran)}). Leave the file alone, and measure again."
    )


def _few(result: BenchResult) -> str | None:
    if result.frames >= _MIN_FRAMES:
        return None
    return f"{result.frames} frames are too few to state a median; measure {_MIN_FRAMES} or more."


def _fell_back(result: BenchResult) -> str | None:
    if not any(item.evidence.get("fallback") for item in result.replicates):
        return None
    return (
        "the provider asked for did not run; another one took over. Name the one that runs, or "
        "mend what keeps the other from running."
    )


def _changed(result: BenchResult) -> str | None:
    changed = _sum(result, "outputs_changed")
    if not changed:
        return None
    return (
        f"the output changed during the run for the same frame, in {changed} of "
        f"{_sum(result, 'outputs_compared')} comparisons."
    )


def _cached(result: BenchResult) -> str | None:
    fresh = [value for item in result.replicates for value in item.evidence.get("fresh_ns") or ()]
    again = [value for item in result.replicates for value in item.evidence.get("again_ns") or ()]
    if not from_cache(fresh, again):
        return None
    return (
        "results came from a cache: a frame that had been seen was answered in less than half the "
        "time of a new one. Switch the cache off, or measure frames that never repeat."
    )


def _dropped(result: BenchResult) -> str | None:
    arrival = result.arrival
    if not result.dropped or arrival.get("drops_asked"):
        return None
    offered = sum(item.offered for item in result.replicates)
    streams = int(arrival.get("streams", 1))
    each = "" if streams == 1 else f" on each of {streams} streams"
    return (
        f"{result.dropped:,} of {offered:,} frames ({result.dropped / max(1, offered):.1%}) were "
        f"dropped: the box cannot hold {arrival.get('fps'):g} frames/s{each}. Lower --fps, or ask "
        f"for drops with --policy latest."
    )


def _behind(result: BenchResult) -> str | None:
    """Where nothing is dropped, a rate that cannot be held shows as a queue that only grows."""
    arrival = result.arrival
    if result.scenario != "paced" or arrival.get("policy") != "all":
        return None
    wanted = float(arrival["fps"]) * int(arrival["streams"])
    ages = result.replicates[0].column("age")
    if result.fps >= _KEPT_UP * wanted or not _grew(ages):
        return None
    return (
        f"the box cannot hold {wanted:g} frames/s: it answered {result.fps:.1f}, and the queue "
        f"grew to the end. Lower --fps, or let it drop frames with --policy latest."
    )


def _grew(ages_ns: Sequence[int]) -> bool:
    """Whether ages rose from the first tenth to the middle, and from there on: a queue that grows
    evenly doubles on the second half of its way."""
    tenth = len(ages_ns) // 10
    if len(ages_ns) < _MIN_FRAMES:
        return False
    half = len(ages_ns) // 2
    first, middle, last = (
        median(part) for part in (ages_ns[:tenth], ages_ns[half:][:tenth], ages_ns[-tenth:])
    )
    return middle > 2 * first and last > 1.5 * middle


def _not_served(result: BenchResult) -> str | None:
    if result.scenario != "server":
        return None
    held = result.rate_held
    if held is None:
        return "no rate was found at which 99 in 100 are answered in time: raise --target."
    if "p99" not in statable(result.frames):
        return (
            f"the 99th percentile takes 1,000 frames, and {result.frames:,} were measured: give "
            f"--frames 1000 or more."
        )
    if held:
        return None
    count = late(result.samples_ns, result.arrival["target_ns"])
    return (
        f"the rate that was found did not hold: {count:,} of {result.frames:,} frames were late. "
        f"Measure again on a quieter box, or for longer."
    )


_REASONS: tuple[Callable[[BenchResult], str | None], ...] = (
    _failed,
    _replaced,
    _few,
    _fell_back,
    _changed,
    _cached,
    _dropped,
    _behind,
    _not_served,
)


def _about_source(result: BenchResult) -> list[str]:
    source, notes = result.source, []
    if _sum(result, "source_loops") and source.get("kind") != "synthetic":
        whole = all(item.evidence.get("source_whole", True) for item in result.replicates)
        what = "the frames" if whole else f"the first {source.get('kept')} frames"
        notes.append(
            f"{what} of {source.get('name')} were held in memory and shown {result.shown}"
            f"{' in a process' * (len(result.replicates) > 1)}."
        )
    if any(item.evidence.get("ended") for item in result.replicates):
        notes.append("the source ended before the run did.")
    told = dict.fromkeys(
        note for item in result.replicates for note in item.evidence.get("source_notes") or ()
    )
    return [*notes, *told]


def _about_lanes(result: BenchResult) -> list[str]:
    """Where processors were set aside for inferences that this scenario never runs."""
    plan = result.about.get("plan") or {}
    lanes, threads = int(plan.get("lanes", 1)), int(plan.get("threads", 1))
    if result.scenario != "single" or lanes == 1:
        return []
    return [
        f"it was opened for {lanes} inferences at once, each with {max(1, threads // lanes)} of "
        f"{threads} threads, and 'single' runs one after another: leave out --lanes to give each "
        f"frame all threads, or measure with --scenario offline, paced or server."
    ]


def _about_flags(result: BenchResult) -> list[str]:
    return [
        f"{count:,} frame(s) carry the flag '{flag}'."
        for flag, count in sorted(_flags(result).items())
    ]


def _about_warmup(result: BenchResult) -> list[str]:
    notes = []
    if any(item.evidence.get("settled") is False for item in result.replicates):
        notes.append("the warm-up ended before latencies had settled.")
    slower = [
        share
        for item in result.replicates
        if result.scenario == "single"
        and (share := still_warming(item.column("latency"))) is not None
    ]
    if len(slower) * 2 > len(result.replicates):
        notes.append(
            f"the first fifth of the frames took {max(slower):.0%} more than the rest: give a "
            f"longer --warmup, or measure for longer."
        )
    return notes


def _about_rate(result: BenchResult) -> list[str]:
    if result.scenario != "server" or not result.arrival.get("rate"):
        return []
    count = late(result.samples_ns, result.arrival["target_ns"])
    if count <= (1 - QUANTILE) * result.frames:
        return []
    return [
        f"{count:,} of {result.frames:,} frames were late at the rate that was found, which is a "
        f"little above it: late frames come in groups, and a search has luck, too."
    ]


def _about_processes(result: BenchResult) -> list[str]:
    count = len(result.replicates)
    if count >= MIN_PROCESSES:
        return []
    return [
        f"{count} process(es): intervals say little about how one process differs from the next, "
        f"and `compare` wants {MIN_PROCESSES}."
    ]


_NOTES: tuple[Callable[[BenchResult], list[str]], ...] = (
    _about_source,
    _about_lanes,
    _about_flags,
    _about_warmup,
    _about_rate,
    _about_processes,
)
