"""How close the video pipeline comes to what the box allows."""

from __future__ import annotations

import dataclasses
import resource
import threading
from collections.abc import Callable
from statistics import median

from edgeinfer.model import Lane, LoadOptions, Model, open_model
from edgeinfer.pipeline import Run, RunOptions
from edgeinfer.sources import open_source
from edgeinfer.timing import now_ns
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal

_SIZE_WH = (1280, 720)
_SHARE = 95.0


def throughput(context: Context) -> list[Goal]:
    """Frames per second of the pipeline against the smaller of two limits.

    The limits: the rate of inference alone in the same session and lanes, and processors divided
    by the CPU-seconds that a frame costs in decoding, preprocessing, inference and postprocessing,
    each measured with nothing beside it. The three are taken in turns, and beside them the pipeline
    with one inference at a time (`--lanes 1`).
    """
    video = str(context.video(context.rounds(150, 30), _SIZE_WH))
    rounds: list[dict[str, float]] = []
    one_lane = LoadOptions(provider="cpu", threads=context.threads, use_plan=False)
    options = dataclasses.replace(one_lane, recording=True)
    path = context.detector()
    with open_model(path, options) as model, open_model(path, one_lane) as single:
        _alone(model, 5)
        for index in range(context.rounds(5)):
            context.say(f"video throughput, round {index + 1}")
            decoding = _cpu_per_frame(lambda: _decode(video))
            by_inference, model_cpu = _alone(model, context.rounds(60, 10))
            fps, frames = _pipeline(model, video)
            one_fps, _ = _pipeline(single, video)
            by_cpu = context.threads / (decoding + model_cpu)
            rounds.append(
                {
                    "fps": fps,
                    "frames": frames,
                    "by_inference": by_inference,
                    "by_cpu": by_cpu,
                    "one_fps": one_fps,
                    "decode_cpu_ms": decoding * 1e3,
                    "model_cpu_ms": model_cpu * 1e3,
                    "share": 100 * fps / min(by_inference, by_cpu),
                }
            )
    middle = {key: median(item[key] for item in rounds) for key in rounds[0]}
    detail = {
        "pipeline": f"{middle['fps']:.1f} frames/s",
        "inference alone": f"{middle['by_inference']:.1f} frames/s",
        "pipeline with --lanes 1": f"{middle['one_fps']:.1f} frames/s",
        "processors / CPU time": f"{middle['by_cpu']:.1f} frames/s",
        "CPU per frame, decoding": f"{middle['decode_cpu_ms']:.2f} ms",
        "CPU per frame, model": f"{middle['model_cpu_ms']:.2f} ms",
        "rounds": str(len(rounds)),
    }
    name = "video throughput, share of what the box allows"
    return [Goal(name, middle["share"], _SHARE, "%", True, detail, {"rounds": rounds})]


def _decode(video: str) -> int:
    source = open_source(video)
    count = sum(1 for _ in source)
    source.close()
    return count


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _cpu_per_frame(work: Callable[[], int]) -> float:
    before = _cpu_seconds()
    frames = work()
    return (_cpu_seconds() - before) / max(1, frames)


def _alone(model: Model, frames: int) -> tuple[float, float]:
    """Inferences per second with every lane at work, and CPU-seconds per frame of the model."""
    before = _cpu_seconds()
    threads = [
        threading.Thread(target=_infer, args=(model.lane(), frames))
        for _ in range(model.plan.lanes)
    ]
    began = now_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = (now_ns() - began) / 1e9
    count = frames * len(threads)
    spent = (_cpu_seconds() - before) / count
    return count / seconds, spent + _around_inference(model)


def _infer(lane: Lane, frames: int) -> None:
    for _ in range(frames):
        lane.warm_up()


def _around_inference(model: Model) -> float:
    """Seconds per frame of preprocessing and postprocessing, which take one processor."""
    source = open_source(f"synthetic:{_SIZE_WH[0]}x{_SIZE_WH[1]}")
    stages = [model(next(source)).stages_ns for _ in range(10)]
    source.close()
    return median(item["preprocess"] + item["postprocess"] for item in stages) / 1e9


def _pipeline(model: Model, video: str) -> tuple[float, int]:
    source = open_source(video)
    summary = Run(model, source, [], RunOptions()).run()
    source.close()
    return float(summary["fps"]), int(summary["frames"])
