"""Reports of known latency that take no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from edgeinfer.testing import FakeClock
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.validity import Validity

CALM = BoxState(
    governor="performance",
    cpu_mhz=2000.0,
    load=(0.0, 0.0, 0.0),
    throttled_periods=0,
    throttled_us=0,
    steal_ticks=0,
    total_ticks=1000,
    thermal_events=0,
)
BEGAN_NS = 5_000_000_000
BLOCK = 5
# Shares of the latency; the rest belongs to no stage.
STAGES = {"preprocess": 0.2, "inference": 0.7, "postprocess": 0.08}
ARRIVALS: Mapping[str, Mapping[str, Any]] = {
    "single": {"lanes": 1},
    "paced": {
        "fps": 100.0,
        "streams": 1,
        "policy": "latest",
        "drops_asked": False,
        "deadline_ns": 10_000_000,
        "lanes": 1,
    },
    "offline": {"lanes": 2},
    "server": {
        "rate": 84.0,
        "target_ns": 12_000_000,
        "rate_failed": 90.0,
        "quantile": 0.99,
        "lanes": 1,
        "trials": [
            {"rate": 120.0, "frames": 60, "late": 10, "age_p99_ns": None, "held": False},
            {"rate": 60.0, "frames": 1000, "late": 0, "age_p99_ns": 6_100_000, "held": True},
            {"rate": 84.0, "frames": 1000, "late": 4, "age_p99_ns": 11_200_000, "held": True},
            {"rate": 90.0, "frames": 210, "late": 10, "age_p99_ns": None, "held": False},
        ],
    },
}

MakeReport = Callable[..., Report]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def calm() -> BoxState:
    """A box on which nothing happens."""
    return CALM


@pytest.fixture
def make_report() -> MakeReport:
    """Build reports, see `build_report`."""
    return build_report


def build_report(
    *latencies_ns: Sequence[int],
    frames: int = 40,
    warmup: int = 3,
    scenario: str = "single",
    replicates: int = 1,
    reasons: Sequence[str] = (),
    full: bool = False,
    seed: int = 0,
) -> Report:
    """A report of models whose latencies are known.

    Args:
        latencies_ns: one list per model, repeated until there are `frames` of them.
        full: with operators, energy, drops, samples of the box and a throttled span.
        seed: of how long frames wait where they wait.
    """
    random = np.random.default_rng(seed)
    results = tuple(
        _result(f"model{index}", _cycle(values, frames), warmup, scenario, replicates, full, random)
        for index, values in enumerate(latencies_ns or ((2_000_000,),))
    )
    return Report(
        command=f"edgeinfer bench x --scenario {scenario}",
        created="2026-03-04T05:06:07+00:00",
        machine={
            "cpu": "Example CPU @ 2.00GHz",
            "cpus": 2,
            "quota_cpus": 2.0,
            "features": ["avx2", "fma"],
            "governor": "performance",
            "memory_bytes": 8 << 30,
            "system": "Linux",
            "kernel": "6.1",
            "architecture": "x86_64",
        },
        versions={"edgeinfer": "0.1.0", "onnxruntime": "1.30.0", "python": "3.12.1"},
        validity=Validity(tuple(reasons), (NOTE,), _evidence(full)),
        results=results,
    )


NOTE = "The frames of street.mp4 were held in memory and shown 2 times."


def _cycle(values: Sequence[int], frames: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.resize(np.asarray(values, np.int64), frames)


def _result(
    label: str,
    latency: np.ndarray[Any, np.dtype[np.int64]],
    warmup: int,
    scenario: str,
    replicates: int,
    full: bool,
    random: np.random.Generator,
) -> BenchResult:
    shares = np.array_split(latency, replicates)
    return BenchResult(
        label=label,
        scenario=scenario,
        about=_about(label),
        replicates=tuple(
            _replicate(share, warmup, scenario, number, full, random)
            for number, share in enumerate(shares)
        ),
        source={"name": "street.mp4", "kind": "video", "size_wh": [1280, 720], "loops": 1},
        block=BLOCK,
        arrival=dict(ARRIVALS[scenario]),
        operators=OPERATORS if full else None,
        energy={"source": "RAPL", "joules_per_frame": 0.1234} if full else None,
    )


def _replicate(
    latency: np.ndarray[Any, np.dtype[np.int64]],
    warmup: int,
    scenario: str,
    number: int,
    full: bool,
    random: np.random.Generator,
) -> Replicate:
    count = len(latency)
    samples = {"latency": latency, "age": latency}
    at = np.concatenate([[0], np.cumsum(latency)[:-1]]).astype(np.int64)
    if scenario in ("paced", "server"):
        queue = random.exponential(500_000, count).astype(np.int64)
        samples |= {"age": latency + queue, "queue": queue}
        at = np.arange(count, dtype=np.int64) * 10_000_000
    samples["at"] = at
    samples |= {name: (latency * part).astype(np.int64) for name, part in STAGES.items()}
    columns = {name: tuple(values.tolist()) for name, values in samples.items()}
    elapsed = int(at[-1] + latency[-1]) if count else 0
    paced = scenario == "paced"
    turns = [latency[start : start + BLOCK] for start in range(0, count, BLOCK)]
    drops = tuple(int(at[row]) for row in range(7, count, 61)) if full and paced else ()
    return Replicate(
        samples_ns=columns,
        warmup_samples_ns={
            name: tuple(2 * (value or 0) for value in column[:warmup])
            for name, column in columns.items()
        },
        opening_ns=140_000_000 + 3_000_000 * number,
        first_frame_ns=31_000_000 + 500_000 * number,
        began_ns=BEGAN_NS + number * (elapsed + 10**9),
        elapsed_ns=elapsed,
        cpu_ns=2 * elapsed,
        offered=count + len(drops) if scenario in ("paced", "server") else 0,
        drops_at_ns=drops,
        turns=tuple(map(len, turns)),
        turns_ns=tuple(int(turn.sum()) for turn in turns),
        back_to_back_ns=tuple((latency[:50] * 0.8).astype(np.int64).tolist()) if paced else (),
        evidence={"outputs_compared": 10, "outputs_changed": 0},
    )


def _about(label: str) -> dict[str, Any]:
    return {
        "model": {"path": f"{label}.onnx", "task": "detect", "precision": "fp32"},
        "provider": "cpu",
        "provider_impl": "onnxruntime 1.30.0",
        "device": "cpu",
        "compute_precision": "fp32",
        "requested_provider": "cpu",
        "skipped_providers": {},
        "placement": {
            "stage": "optimized",
            "providers": {"cpu": {"nodes": 3, "op_types": {"Sigmoid": 1, "Conv": 2}}},
        },
        "plan": {"source": "default", "threads": 2, "sessions": 1, "preprocess": "host"},
        "flags": [],
        "peer": None,
    }


def _evidence(full: bool) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "before": {"governor": "performance"},
        "throttled_share": 0.0,
        "steal_share": 0.001,
    }
    if full:
        evidence["samples"] = [
            {
                "at_ns": BEGAN_NS + second * 10**9,
                "cpu_mhz": 2000.0 + 10 * second,
                "temperature_c": 50.0 + second,
                "load": 1.5,
                "throttled": second == 1,
            }
            for second in range(4)
        ]
        evidence["throttled_spans"] = [[BEGAN_NS + 20_000_000, BEGAN_NS + 90_000_000]]
    return evidence


def _operator(number: int) -> dict[str, Any]:
    return {
        "name": f"/model.{number}/block/conv_{number}/Conv",
        "op_type": "Conv",
        "provider": "cpu",
        "mean_ns": 900_000 - 50_000 * number,
        "share": 0.2 - 0.01 * number,
        "shape": [1, 64, 80, 80],
        "precision": "fp32",
        "gflop": 0.2,
        "gflops": 220.5 - number,
    }


OPERATORS: Mapping[str, Any] = {
    "runs": 20,
    "frame_ns": 4_900_000,
    "kernel_ns": 4_600_000,
    "peak_gflops": {"fp32": 410.0},
    "gflop": 1.08,
    "gflops": 220.0,
    "share_of_peak": 0.537,
    "by_type": [
        {
            "op_type": name,
            "provider": "cpu",
            "count": count,
            "mean_ns": mean_ns,
            "share": part,
            "precision": "fp32" if gflop else None,
            "gflop": gflop,
            "gflops": gflop * 1e9 / mean_ns if gflop else None,
        }
        for name, count, mean_ns, part, gflop in (
            ("Conv", 64, 3_900_000, 0.85, 1.07),
            ("Sigmoid", 57, 420_000, 0.09, None),
            ("Concat", 17, 190_000, 0.04, None),
            ("Resize", 2, 90_000, 0.02, None),
        )
    ],
    "top": [_operator(number) for number in range(10)],
    "reason": None,
}
