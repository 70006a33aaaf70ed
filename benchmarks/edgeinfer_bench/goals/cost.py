"""What edgeinfer adds to ONNX Runtime per frame."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from edgeinfer.measure import difference, interleave
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.sources import open_source
from edgeinfer.timing import format_ns
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.peers.plain_onnxruntime import PlainSession

_FRAME = "synthetic:1280x720"
_THREADS = (1, 2)


def own_cost(context: Context) -> list[Goal]:
    """Frame latency minus `InferenceSession.run` of the same round, by model and threads."""
    goals = []
    for threads in _THREADS:
        goals.append(
            _cost(
                context,
                "640 detector",
                context.detector(),
                threads,
                rounds=150,
                bound_ms=1.2,
                share=0.05,
            )
        )
        goals.append(
            _cost(
                context,
                "224 classifier",
                context.classifier(),
                threads,
                rounds=1000,
                bound_ms=0.3,
                share=0.0,
            )
        )
    return goals


def _cost(
    context: Context,
    what: str,
    path: Path,
    threads: int,
    *,
    rounds: int,
    bound_ms: float,
    share: float,
) -> Goal:
    context.say(f"own cost: {what}, {threads} thread(s)")
    plain = PlainSession(path, threads)
    source = open_source(_FRAME)
    stages: dict[str, list[int]] = {"preprocess": [], "inference": [], "postprocess": []}
    latencies: list[int] = []
    with open_model(path, LoadOptions(provider="cpu", threads=threads)) as model:

        def frame() -> None:
            result = model(next(source))
            latencies.append(result.latency_ns)
            for stage, kept in stages.items():
                kept.append(result.stages_ns[stage])

        def raw() -> None:
            plain.run()

        count = context.rounds(rounds, 20)
        samples = interleave({"edgeinfer": frame, "plain": raw}, rounds=count, warmup=10)
    source.close()
    added = difference(samples["plain"], latencies[-count:])
    base = median(samples["plain"])
    detail = {
        "added per frame": f"{format_ns(added.ns)}, 95% interval {format_ns(added.low)} to "
        f"{format_ns(added.high)}",
        "frame latency": format_ns(median(latencies[-count:])),
        "InferenceSession.run": format_ns(base),
        **{stage: format_ns(median(kept[-count:])) for stage, kept in stages.items()},
        "rounds": str(count),
    }
    return Goal(
        f"own cost per frame, {what}, {threads} thread(s)",
        added.ns / 1e6,
        max(bound_ms, share * base / 1e6),
        "ms",
        detail=detail,
        data={
            "latency_ns": latencies[-count:],
            "plain_ns": list(samples["plain"]),
        },
    )
