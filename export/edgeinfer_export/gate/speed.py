"""How fast each variant is on this box: in turns, on the path that a frame takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from edgeinfer.datasets import open_dataset, read_picture
from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Array, Arrays
from edgeinfer.machine import this_machine
from edgeinfer.measure import Ratio, interleave, ratio
from edgeinfer.model import LoadOptions, Model, open_model, threads_of, why_unfit
from edgeinfer.providers import PROVIDERS
from edgeinfer_export.quantize.calibration import Calibration, PictureCalibration

_BUDGET_NS = 400_000_000
_MIN_ROUNDS, _MAX_ROUNDS = 7, 101
_FRAMES = 2
# Below this a difference is none that anybody would notice.
_NOT_FASTER = 0.97


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        p50_ns: median frame latency by variant; `source` is FP32.
        ratios: of each other variant to the first.
        threads: of the process.
        rounds: in turns.
        provider: what ran them.
    """

    p50_ns: Mapping[str, int]
    ratios: Mapping[str, Ratio]
    threads: int
    rounds: int
    provider: str = "cpu"

    def to_dict(self) -> dict[str, Any]:
        return {
            "p50_ns": dict(self.p50_ns),
            "ratios": {name: found.to_dict() for name, found in self.ratios.items()},
            "threads": self.threads,
            "rounds": self.rounds,
            "provider": self.provider,
        }

    def notes(self, precision: str) -> tuple[str, ...]:
        """What is recommended where the output is not faster than the source."""
        found = self.ratios["output"]
        if found.ratio < _NOT_FASTER:
            return ()
        old, new = (self.p50_ns[name] / 1e6 for name in ("source", "output"))
        best = min(self.p50_ns, key=lambda name: self.p50_ns[name])
        other = (
            f"FP32 through {best} takes {self.p50_ns[best] / 1e6:.2f} ms here: use the FP32 file "
            f"with --provider {best}"
            if best not in ("source", "output")
            else "use the FP32 file here"
        )
        meant = "; fp16 is made for GPUs and NPUs" if precision == "fp16" else ""
        return (
            f"{precision} is not faster on this box: {new:.2f} ms a frame against {old:.2f} ms in "
            f"FP32 ({self.threads} thread(s), in turns). Recommended: {other}; `edgeinfer tune` "
            f"measures every choice{meant}",
        )


def provider_for(target: str | None) -> str:
    """What files for a kind of box run on, and are timed on."""
    return target if target in ("openvino", "tensorrt") else "cpu"


def why_untimed(target: str | None) -> str | None:
    """Why files for a kind of box cannot be timed on this one, or None."""
    provider = provider_for(target)
    unfit = why_unfit(target, provider, this_machine())
    return unfit or PROVIDERS[provider].why_unavailable(None)


def time_variants(source: Path, output: Path, samples: Calibration, provider: str = "cpu") -> Speed:
    """Time the FP32 source and its new file, and FP32 through OpenVINO where that is installed.

    Args:
        source: FP32, with its spec.
        output: with a spec that this box opens.
        samples: the frames.
        provider: that runs both.

    Raises:
        EdgeInferError: if one of the two does not open.
    """
    options = LoadOptions(provider=provider, preprocess="host", use_plan=False)
    with ExitStack() as stack:
        models = {
            "source": stack.enter_context(open_model(source, options)),
            "output": stack.enter_context(open_model(output, options)),
        }
        frames = [_frame(samples, number) for number in range(min(_FRAMES, len(samples)))]
        other = _openvino(source, stack) if provider == "cpu" else None
        if other is not None:
            models["openvino"] = other
        return _race(models, frames, threads_of(options), provider)


def race_files(files: Mapping[str, Path], dataset: str, provider: str) -> Speed:
    """Time several files against each other on the first pictures of a dataset.

    Args:
        files: by name; each with a spec that this box opens.
        dataset: as `open_dataset` takes it.
        provider: that runs all.

    Raises:
        EdgeInferError: if one does not open.
    """
    options = LoadOptions(provider=provider, preprocess="host", use_plan=False)
    pictures = [sample.picture for sample in islice(open_dataset(dataset), _FRAMES)]
    with ExitStack() as stack:
        models = {
            name: stack.enter_context(open_model(path, options)) for name, path in files.items()
        }
        return _race(models, pictures, threads_of(options), provider)


def _race(models: Mapping[str, Model], frames: Sequence[Any], threads: int, provider: str) -> Speed:
    kept: dict[str, list[int]] = {name: [] for name in models}

    def turn(name: str) -> None:
        taken = [models[name](frame).latency_ns for frame in frames]
        kept[name].append(round(median(taken)))

    alternatives = {name: (lambda name=name: turn(name)) for name in models}
    first = interleave(alternatives, rounds=1, warmup=1)
    one = sum(taken[0] for taken in first.values())
    rounds = max(_MIN_ROUNDS, min(_MAX_ROUNDS, _BUDGET_NS // max(1, one)))
    interleave(alternatives, rounds=rounds, warmup=0)
    samples = {name: taken[-rounds:] for name, taken in kept.items()}
    base = next(iter(samples))
    return Speed(
        {name: round(median(taken)) for name, taken in samples.items()},
        {name: ratio(samples[base], taken) for name, taken in samples.items() if name != base},
        threads,
        rounds,
        provider,
    )


def _frame(samples: Calibration, number: int) -> Array | Arrays:
    if isinstance(samples, PictureCalibration):
        return read_picture(samples.paths[number])
    return samples.inputs(number)


def _openvino(path: Path, stack: ExitStack) -> Model | None:
    try:
        return stack.enter_context(
            open_model(path, LoadOptions(provider="openvino", preprocess="host", use_plan=False))
        )
    except EdgeInferError:
        return None
