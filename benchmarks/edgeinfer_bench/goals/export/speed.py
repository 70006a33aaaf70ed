"""Frame latency of INT8 over FP32, and whether the command says where it does not pay."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from edgeinfer.measure import Ratio, interleave, ratio
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.timing import format_ns
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.export.exported import export, target
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.providers.subjects import has_vnni, pictures, readings
from edgeinfer_bench.models import model_file

# Name, size, precision, and how many times FP32 it must be; 0 where it is only reported.
_SUBJECTS = (
    ("resnet50-like", 224, "int8", 2.5),
    ("yolov8n-like", 640, "int8", 1.5),
    ("mobilenet-v2-like", 224, "int8", 0.0),
    ("mobilenet-v3-small-like", 224, "int8", 0.0),
    ("yolox-nano-like", 416, "int8", 0.0),
    ("deit-tiny-like", 224, "int8", 0.0),
    ("deit-tiny-like", 224, "int8-dynamic", 0.0),
    ("lstm-like", 128, "int8-dynamic", 0.0),
)
_BLOCK = 6
# Nobody notices less.
_NOT_FASTER = 0.97
_CLEAR = 0.03


def speed(context: Context) -> list[Goal]:
    """INT8 with the head in float over FP32, by blocks of frames in turns, on 1 and all threads."""
    if not has_vnni():
        context.note("This processor has no VNNI: what is promised of INT8 is not promised here.")
    goals = []
    for name, size, precision, bound in _SUBJECTS:
        goals += _measured(context, name, size, precision, bound if has_vnni() else 0.0)
    return goals


def _measured(context: Context, name: str, size: int, precision: str, bound: float) -> list[Goal]:
    folder = context.folder / f"export-{name}-{size}"
    path = model_file(name, folder, size)
    output = path.with_name(f"{path.stem}-{precision}.onnx")
    is_picture = name != "lstm-like"
    calibration, source = pictures(context) if is_picture else readings(context, size)
    context.say(f"exporting {name} {size} as {precision}")
    options = ["--precision", precision, "--target", target(), "--calibration", str(calibration)]
    report = export(context, path, output, options)
    goals = []
    ratios = {}
    for threads in sorted({1, context.threads}):
        context.say(f"measuring {name} {size} {precision}, {threads} thread(s)")
        blocks = _blocks(context, {"fp32": path, "narrow": output}, source, threads)
        found = ratios[threads] = ratio(blocks["narrow"], blocks["fp32"])
        times = {key: median(taken) for key, taken in blocks.items()}
        goals.append(
            Goal(
                f"frame latency of {name} {size}, FP32 over {precision}, {threads} thread(s)",
                found.ratio,
                bound,
                "times",
                True,
                {
                    "frame latency": f"FP32 {format_ns(times['fp32'])}, {precision} "
                    f"{format_ns(times['narrow'])}",
                    "95% interval": f"{found.low:.2f} to {found.high:.2f}",
                    "blocks": f"{found.rounds} of {_BLOCK} frames each",
                    "kept in float": f"{len(report['kept_float'])} nodes",
                    "notes": "; ".join(report["notes"]) or "none",
                },
                {"blocks_ns": blocks},
            )
        )
    goals += _told(name, size, precision, report["notes"], ratios[max(ratios)])
    return goals


def _told(name: str, size: int, precision: str, notes: list[str], found: Ratio) -> list[Goal]:
    """Whether the command recommended something else exactly where this does not pay."""
    if abs(1 / found.ratio - _NOT_FASTER) < _CLEAR:
        return []  # either answer is right
    pays = 1 / found.ratio < _NOT_FASTER
    said = any("is not faster on this box" in note and "Recommended:" in note for note in notes)
    return [
        Goal(
            f"export says whether {precision} pays for {name} {size}",
            float(said is not pays),
            1.0,
            "right",
            True,
            {"measured": "it pays" if pays else "it does not pay", "said": "; ".join(notes)},
        )
    ]


def _blocks(
    context: Context, files: dict[str, Path], source: str, threads: int
) -> dict[str, list[int]]:
    """Medians of blocks of frames, in turns."""
    from edgeinfer.sources import open_source

    frames = [frame.data for frame in open_source(source)]
    kept: dict[str, list[int]] = {name: [] for name in files}
    rounds = context.rounds(60, 5)
    with ExitStack() as stack:
        models: dict[str, Model] = {}
        for name, path in files.items():
            options = LoadOptions("cpu", threads=threads, preprocess="host", use_plan=False)
            models[name] = stack.enter_context(open_model(path, options))

        def block(name: str) -> None:
            taken = [models[name](frames[at % len(frames)]).latency_ns for at in range(_BLOCK)]
            kept[name].append(round(median(taken)))

        interleave({name: partial(block, name) for name in files}, rounds=rounds, warmup=2)
    return {name: taken[-rounds:] for name, taken in kept.items()}
