"""What a search came to, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeinfer.tune.candidate import Candidate
from edgeinfer.tune.frames import Material
from edgeinfer.tune.judge import Judge
from edgeinfer.tune.race import Standing


@dataclass
class Outcome:
    """What a search came to.

    Attributes:
        best: the winner.
        speedup: how many times its cost is that of what runs without a plan, None where that was
            not measured.
        candidates: all of them, in the order of their being tried.
        reference: whose answers were the measure. material: the frames. judge: compared them.
        statistic: what the winner was judged by, for people.
        fps: rate of the paced frames, None where they came one after the other.
        seconds: how long it took.
        notes: what a reader must know.
    """

    best: Candidate
    speedup: float | None
    candidates: list[Candidate]
    reference: Candidate
    material: Material
    judge: Judge
    statistic: str
    fps: float | None
    seconds: float
    notes: list[str] = field(default_factory=list)


def why_second(one: Candidate, best: Candidate) -> str:
    """Why a finalist that was measured to the end did not win."""
    assert one.standing is not None and best.standing is not None
    share = one.standing.cost_ns / best.standing.cost_ns
    return f"{share:.2f} times the cost of the best" if share > 1 else "as good as the best"


def frames_of(standing: Standing) -> int:
    """How many frames were timed one by one."""
    return sum(len(block.samples_ns) for block in standing.blocks)


def statistic(objective: str, q: float, frames: int, fps: float | None, joules: bool) -> str:
    """What a winner was judged by."""
    paced = f"frames paced at {fps:.1f}/s" if fps else "frames one after the other"
    if objective == "throughput":
        return "frames per second of the pipeline"
    if objective == "efficiency":
        return f"{'energy' if joules else 'processor time'} per frame, {paced}"
    # Of fewer than 20 frames no quantile may be stated, see edgeinfer.timing.
    return f"{f'p{round(100 * q)}' if frames >= 20 else f'the middle of {frames}'} of {paced}"
