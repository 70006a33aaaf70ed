"""What to measure, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.errors import UsageError, suggest

SCENARIO_NAMES = ("single",)
DEFAULT_WARMUP = 10
# Enough frames to state the 99th percentile, as long as that does not try anybody's patience.
DEFAULT_FRAMES = 1000
DEFAULT_DURATION_S = 20.0
# An interleaved run comes back to each model this often: long enough to run undisturbed by the
# other's caches and threads, short enough that slow drift hits both alike.
DEFAULT_BLOCK = 10


@dataclass(frozen=True)
class BenchOptions:
    """How a benchmark runs.

    Where neither `frames` nor `duration_s` is given, 1000 frames or 20 seconds are measured,
    whichever comes first; where both are given, the same holds for them.

    Attributes:
        scenario: ``single``: frames back to back, one at a time.
        frames: how many frames are measured per model.
        duration_s: how long each model is measured, in seconds.
        warmup: frames before those, per model, reported apart.
        block: with several models, frames that one runs before the next takes over.

    Raises:
        UsageError: naming the option whose value does not fit.
    """

    scenario: str = "single"
    frames: int | None = None
    duration_s: float | None = None
    warmup: int = DEFAULT_WARMUP
    block: int = DEFAULT_BLOCK

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIO_NAMES:
            raise UsageError(
                f"There is no scenario '{self.scenario}'. {suggest(self.scenario, SCENARIO_NAMES)}"
            )
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"frames is {self.frames}: measure at least 1 frame.")
        if self.duration_s is not None and not 0 < self.duration_s < float("inf"):
            raise UsageError(f"duration is {self.duration_s} s: give a number above 0.")
        if self.warmup < 0:
            raise UsageError(f"warmup is {self.warmup}: give 0 or more frames.")
        if self.block < 1:
            raise UsageError(f"block is {self.block}: give 1 or more frames.")

    @property
    def max_frames(self) -> int | None:
        """The frames to stop at, or None."""
        if self.frames is None and self.duration_s is None:
            return DEFAULT_FRAMES
        return self.frames

    @property
    def max_duration_s(self) -> float | None:
        """The seconds per model to stop after, or None."""
        if self.frames is None and self.duration_s is None:
            return DEFAULT_DURATION_S
        return self.duration_s
