"""What opening a model that this box has seen costs beside ONNX Runtime's own opening."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from edgeinfer.measure import interleave, ratio
from edgeinfer.timing import format_ns
from edgeinfer_bench.goals.context import Context, fresh
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.providers.subjects import SUBJECTS
from edgeinfer_bench.models import model_file

_BOUND = 1.2
_WARM_UP = 2
# Both open a small model first: what is imported and started once per process is then there.
_HAND = """
import json, sys, time
import onnxruntime
small, model, threads, _ = json.loads(sys.argv[1])
def opened(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
first = opened(small)
began = time.perf_counter_ns()
session = opened(model)
print(time.perf_counter_ns() - began)
"""
_LOAD = """
import json, sys, time
import edgeinfer
small, model, threads, cache = json.loads(sys.argv[1])
first = edgeinfer.load(small, "cpu", threads=threads, cache_dir=cache)
began = time.perf_counter_ns()
second = edgeinfer.load(model, "cpu", threads=threads, cache_dir=cache)
print(time.perf_counter_ns() - began)
second.close()
first.close()
"""


def opening(context: Context) -> list[Goal]:
    """`edgeinfer.load` after `edgeinfer warm` over `InferenceSession()` of the same file, in fresh
    processes."""
    small = model_file("lstm-like", context.folder / "small", 8)
    return [_opening(context, small, name, size) for name, size in SUBJECTS]


def _opening(context: Context, small: Path, name: str, size: int) -> Goal:
    context.say(f"opening {name} {size}")
    model = model_file(name, context.folder / f"{name}-{size}", size)
    cache = str(context.folder / "cache-opening")
    given = json.dumps([str(small), str(model), context.threads, cache])
    command = ["-m", "edgeinfer", "warm", str(model), "--provider", "cpu"]
    fresh([*command, "--threads", str(context.threads)], context.folder, {"EDGEINFER_CACHE": cache})
    taken: dict[str, list[int]] = {"onnxruntime": [], "edgeinfer": []}

    def timed(key: str, program: str) -> None:
        taken[key].append(int(fresh(["-c", program, given], context.folder).split()[-1]))

    interleave(
        {
            "onnxruntime": lambda: timed("onnxruntime", _HAND),
            "edgeinfer": lambda: timed("edgeinfer", _LOAD),
        },
        rounds=context.rounds(15, 5),
        warmup=_WARM_UP,
    )
    samples = {key: values[_WARM_UP:] for key, values in taken.items()}
    middle = {key: median(values) for key, values in samples.items()}
    compared = ratio(samples["onnxruntime"], samples["edgeinfer"])
    detail = {key: format_ns(value) for key, value in middle.items()}
    detail["pairs of processes"] = str(len(samples["edgeinfer"]))
    detail["ratio of pairs, 95% interval"] = f"{compared.low:.2f} to {compared.high:.2f}"
    return Goal(
        f"opening {name} {size} with a warm cache, over onnxruntime's own",
        middle["edgeinfer"] / middle["onnxruntime"],
        _BOUND,
        "times",
        detail=detail,
        data=samples,
    )
