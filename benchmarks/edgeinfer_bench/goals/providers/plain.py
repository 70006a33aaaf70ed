"""The stored plan beside a hand-written script with ONNX Runtime's default settings."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from edgeinfer import cache
from edgeinfer.child import Child
from edgeinfer.measure import interleave, ratio
from edgeinfer.model import LoadOptions
from edgeinfer.packages import need
from edgeinfer.providers import PROVIDERS
from edgeinfer.remote import Remote
from edgeinfer.timing import format_ns
from edgeinfer.tune import TuneOptions
from edgeinfer.tune.frames import material
from edgeinfer.tune.worker import options_to
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.providers.subjects import DETECTOR, Subject, has_vnni, subject
from edgeinfer_bench.goals.providers.tuned import tuned

_STOCK, _OPENVINO = 1.5, 2.0
_OPEN_S, _WORK_S = 180.0, 120.0
_BLOCK, _WARM_UP = 8, 2
_PLAIN = "edgeinfer_bench.peers.plain_detector"
_TUNED = "edgeinfer_bench.goals.providers.user"


def beside_plain(context: Context) -> list[Goal]:
    """Frame latency, and frames per second, of the 640 detector as `load` opens it with its plan.

    Whoever installed OpenVINO is promised more; where nothing multiplies bytes in one step, nothing
    is promised.
    """
    openvino = PROVIDERS["openvino"].why_unavailable(None)
    context.note(
        "Beside plain ONNX Runtime: with OpenVINO."
        if openvino is None
        else f"Beside plain ONNX Runtime: without OpenVINO ({openvino}), so throughput is not "
        f"measured; run it where OpenVINO is installed, too."
    )
    if openvino is not None and not has_vnni():
        context.note("Beside plain ONNX Runtime: not measured, this processor has no VNNI.")
        return []
    item = subject(context, *DETECTOR)
    goals = [_latency(context, item, _STOCK if openvino is not None else _OPENVINO)]
    if openvino is None:
        goals.append(_throughput(context, item))
    return goals


class _Pair:
    """Both alive in processes of their own, with the same frames."""

    def __init__(self, item: Subject, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeinfer-plain-")))
        self.plain, self.ours = Remote(Child(_PLAIN)), Remote(Child(_TUNED))
        stack.callback(self.plain.close)
        stack.callback(self.ours.close)
        given = material(folder, TuneOptions(source=item.source).sources, None, False, ())
        self.plain.ask({"do": "open", "path": str(item.path)}, _OPEN_S)
        self.opened = self.ours.ask(
            {
                "do": "open",
                "path": str(item.path),
                "options": options_to(LoadOptions()),
                "cache": str(cache.root().parent),
            },
            _OPEN_S,
        )
        for one in (self.plain, self.ours):
            one.ask({"do": "frames", "folder": str(given.folder)}, _WORK_S)


def _latency(context: Context, item: Subject, bound: float) -> Goal:
    context.say(f"tuning {item.name} for latency")
    plan, choice, _ = tuned(context, item, "latency")
    context.say("frame latency beside plain onnxruntime")
    frames: dict[str, list[int]] = {"plain": [], "tuned": []}
    inference: dict[str, list[int]] = {"plain": [], "tuned": []}
    rounds = context.rounds(60, 5)
    with ExitStack() as stack:
        pair = _Pair(item, stack)

        def block(name: str, remote: Remote) -> None:
            asked = {"do": "block", "frames": _BLOCK, "interval_ns": 0}
            answer = remote.ask(asked, _WORK_S)
            frames[name].append(round(median(answer["samples"])))
            inference[name].append(round(median(answer["inference"])))

        interleave(
            {
                "plain": lambda: block("plain", pair.plain),
                "tuned": lambda: block("tuned", pair.ours),
            },
            rounds=rounds,
            warmup=_WARM_UP,
        )
        opened = pair.opened
    alone = {name: format_ns(median(taken[_WARM_UP:])) for name, taken in inference.items()}
    detail = {
        **{f"inference alone, {name}": value for name, value in alone.items()},
        "plan": choice.text(),
        "opened by": f"{opened['plan']['source']} plan on {opened['served']['provider_impl']}",
        "answers beside the FP32 reference": _parity(plan["best"]["parity"]),
        "blocks": f"{rounds} of {_BLOCK} frames each",
        "plain": f"onnxruntime {need('onnxruntime').__version__}, InferenceSession(model) on the "
        "FP32 file; letterbox with OpenCV, cv2.dnn.blobFromImage, cv2.dnn.NMSBoxesBatched",
    }
    kept = {key: values[_WARM_UP:] for key, values in frames.items()}
    middle = {key: median(values) for key, values in kept.items()}
    compared = ratio(kept["tuned"], kept["plain"])
    return Goal(
        f"frame latency of {item.name}, p50 of plain onnxruntime over the tuned plan's",
        middle["plain"] / middle["tuned"],
        bound,
        "times",
        True,
        {
            **{f"frame, {key}": format_ns(value) for key, value in middle.items()},
            "95% interval": f"{compared.low:.2f} to {compared.high:.2f}",
            **detail,
        },
        {"block_medians_ns": kept},
    )


def _throughput(context: Context, item: Subject) -> Goal:
    context.say(f"tuning {item.name} for throughput")
    _, choice, _ = tuned(context, item, "throughput")
    context.say("throughput beside plain onnxruntime")
    fps: dict[str, list[float]] = {"plain": [], "tuned": []}
    count = context.rounds(60, 16)
    with ExitStack() as stack:
        pair = _Pair(item, stack)

        def plain() -> None:
            answer = pair.plain.ask({"do": "block", "frames": count}, _WORK_S)
            fps["plain"].append(1e9 * count / sum(answer["samples"]))

        def ours() -> None:
            answer = pair.ours.ask({"do": "rate", "frames": count}, _WORK_S)
            fps["tuned"].append(float(answer["fps"]))

        interleave({"plain": plain, "tuned": ours}, rounds=context.rounds(12), warmup=1)
    middle = {name: median(values[1:]) for name, values in fps.items()}
    detail = {name: f"{value:.1f} frames/s" for name, value in middle.items()}
    return Goal(
        f"throughput, {item.name}, the tuned plan's over plain onnxruntime's",
        middle["tuned"] / middle["plain"],
        _OPENVINO,
        "times",
        True,
        {**detail, "plan": choice.text(), "rounds": f"{len(fps['plain']) - 1} of {count} frames"},
        {"fps": fps},
    )


def _parity(figures: dict[str, object]) -> str:
    told = {key: value for key, value in figures.items() if value is not None}
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in told.items()
    )
