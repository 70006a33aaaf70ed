"""Which layers to blame: first by the noise that each adds, then by leaving each in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeinfer_export.gate.base import Narrower
from edgeinfer_export.gate.groups import Group
from edgeinfer_export.quantize.calibration import Calibration
from edgeinfer_export.quantize.errors import OutputError, decibels, noise_shares
from edgeinfer_export.steps.verify import sample_numbers

if TYPE_CHECKING:
    import onnx

Progress = Callable[[int, int], None]

_SAMPLES = 4
# So many suspects are tried by leaving them in float; the others keep the order of their noise.
_SUSPECTS = 24


@dataclass(frozen=True)
class Blamed:
    """A group and what it is accused of.

    Attributes:
        group: the layer and what follows it.
        sqnr_db: signal over noise at its output; None where it cannot be seen.
        gained: share of the output's error that goes when it alone stays in float; None where
            that was not tried.
    """

    group: Group
    sqnr_db: float | None
    gained: float | None


def blame(
    narrower: Narrower,
    narrowed: onnx.ModelProto,
    groups: Sequence[Group],
    samples: Calibration,
    progress: Progress | None = None,
) -> tuple[Blamed, ...]:
    """Order groups by how much accuracy each costs for the speed that it brings.

    Args:
        narrowed: the graph with all of the groups in few bits.
        samples: at most 4 are used.
    """
    numbers = sample_numbers(len(samples), _SAMPLES)
    inputs = [samples.inputs(number) for number in numbers]
    names = [name for group in groups for name in group.outputs]
    noise = noise_shares(narrower.model, narrowed, names, inputs)
    at_end = [_noise_at_end(group, noise) for group in groups]
    # What comes in noisy goes out noisy: only what is added counts.
    added = [
        (own or 0.0) - max((at_end[other] or 0.0 for other in group.before), default=0.0)
        for group, own in zip(groups, at_end, strict=True)
    ]
    # The later of two equals first: heads are near the answers.
    order = sorted(range(len(groups)), key=lambda at: (-added[at], -at))
    suspects = order[:_SUSPECTS]
    error = OutputError(narrower.model, samples, numbers)
    whole = error.of(narrowed)
    gains: dict[int, float] = {}
    for done, at in enumerate(suspects, 1):
        left = error.of(narrower.build(groups[at].nodes))
        gains[at] = (whole - left) / whole if whole > 0 else 0.0
        if progress is not None:
            progress(done, len(suspects))
    total = sum(group.macs for group in groups) or 1
    # Gain for its price: a small layer that helps comes before a big one that helps a bit more.
    suspects.sort(key=lambda at: -gains[at] / (groups[at].macs / total + 0.02))
    return tuple(
        Blamed(
            groups[at],
            None if at_end[at] is None else decibels(at_end[at] or 0.0),
            gains.get(at),
        )
        for at in (*suspects, *order[_SUSPECTS:])
    )


def _noise_at_end(group: Group, noise: dict[str, float]) -> float | None:
    known = [noise[name] for name in group.outputs if name in noise]
    return known[-1] if known else None
