"""What to measure, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.errors import UsageError, suggest
from edgeinfer.pipeline import POLICIES

SCENARIO_NAMES = ("single", "paced", "offline", "server")
# Fewer processes say little about how much one differs from the next.
DEFAULT_REPLICATES = 5
# Enough frames to state the 99th percentile, as long as that does not try anybody's patience.
DEFAULT_FRAMES = 1000
DEFAULT_DURATION_S = 20.0
DEFAULT_FPS = 30.0
# More arrivals a second than this take a processor to count, dropped ones among them; no camera
# comes near.
MOST_ARRIVALS = 10_000
_MOST_FRAMES = 10**12
# From, to, and the unit: what is outside is a slip of the finger, and no clock can hold it.
_RANGES = {
    "duration_s": (1e-9, 1e7, " s"),
    "fps": (0.001, float(MOST_ARRIVALS), ""),
    "deadline_ms": (1e-6, 1e9, " ms"),
    "target_ms": (1e-6, 1e9, " ms"),
}


@dataclass(frozen=True)
class BenchOptions:
    """How a benchmark runs.

    Where neither `frames` nor `duration_s` is given, 1000 frames or 20 seconds are measured,
    whichever comes first, and 20 seconds of each where several models take turns; where both are
    given, the same holds for them. Frames in an open loop (``paced``, ``server``) count where they
    arrive, also those that are then dropped.

    Attributes:
        scenario: ``single``: frames back to back, one at a time. ``paced``: they arrive at `fps`,
            whether the model is ready or not, as a camera delivers. ``offline``: as many frames a
            second as the box can do. ``server``: they arrive at random (Poisson), and the highest
            rate is sought at which 99 in 100 are answered within `target_ms`.
        frames: how many frames are measured per model, over all replicates.
        duration_s: how long each model is measured, in seconds, over all replicates.
        warmup: frames before those, in each process, reported apart; None: until they settle.
        block: with several models, frames that one runs before the next takes over; None: as many
            as last 25 ms, at least 3.
        replicates: fresh processes that the frames are shared out to.
        fps: arrivals a second and stream of ``paced``; None: the recording's own, else 30.
        streams: cameras at once in ``paced``.
        policy: of ``paced``: ``latest`` drops a frame that nobody took before the next one came,
            ``all`` keeps it waiting; None: ``latest``, and a report with drops is INVALID.
        deadline_ms: a frame of ``paced`` that is older than this when it is answered has missed
            it; None: the time until the next one arrives.
        target_ms: of ``server``; None: three times the median of frames back to back.

    Raises:
        UsageError: naming the option whose value does not fit.
    """

    scenario: str = "single"
    frames: int | None = None
    duration_s: float | None = None
    warmup: int | None = None
    block: int | None = None
    replicates: int = DEFAULT_REPLICATES
    fps: float | None = None
    streams: int = 1
    policy: str | None = None
    deadline_ms: float | None = None
    target_ms: float | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIO_NAMES:
            raise UsageError(
                f"There is no scenario '{self.scenario}'. {suggest(self.scenario, SCENARIO_NAMES)}"
            )
        if self.policy is not None and self.policy not in POLICIES:
            raise UsageError(
                f"There is no policy '{self.policy}'. {suggest(self.policy, POLICIES)}"
            )
        for name, least in (("frames", 1), ("warmup", 0), ("block", 1)):
            value = getattr(self, name)
            if value is not None and not least <= value <= _MOST_FRAMES:
                shown = value if abs(value) < 10**30 else "beyond all measure"
                raise UsageError(
                    f"{name} is {shown}: give from {least} to {_MOST_FRAMES:,} frames."
                )
        for name, most in (("replicates", 1000), ("streams", 64)):
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} is {getattr(self, name)}, not from 1 to {most}.")
        for name, (low, high, unit) in _RANGES.items():
            number = getattr(self, name)
            if number is not None and not low <= number <= high:
                raise UsageError(
                    f"{_word(name)} is {number:g}{unit}: give a number from {low:g} to "
                    f"{high:g}{unit}."
                )
        if self.fps is not None:
            check_arrivals(self.fps, self.streams)
        self._check_scenario()

    def _check_scenario(self) -> None:
        """Refuse what the scenario would leave unused."""
        belongs = {
            "fps": ("paced",),
            "streams": ("paced",),
            "policy": ("paced",),
            "deadline_ms": ("paced",),
            "target_ms": ("server",),
        }
        for name, scenarios in belongs.items():
            given = getattr(self, name) != (1 if name == "streams" else None)
            if given and self.scenario not in scenarios:
                raise UsageError(
                    f"{_word(name)} is for the scenario {' or '.join(scenarios)}, and this is "
                    f"'{self.scenario}': leave it out, or change the scenario."
                )

    @property
    def max_frames(self) -> int | None:
        """The frames to stop at, or None."""
        if self.frames is None and self.duration_s is None:
            return DEFAULT_FRAMES
        return self.frames

    @property
    def max_duration_s(self) -> float | None:
        """The seconds per model to stop after, or None; a server's rate takes all its frames."""
        if self.frames is None and self.duration_s is None and self.scenario != "server":
            return DEFAULT_DURATION_S
        return self.duration_s


def _word(name: str) -> str:
    """What an option is called without its unit, as on the command line."""
    return name.rpartition("_")[0] or name


def check_arrivals(fps: float, streams: int) -> None:
    """Refuse a rate that nobody can count.

    Raises:
        UsageError: naming the rate and what to give.
    """
    if fps * streams > MOST_ARRIVALS:
        each = "" if streams == 1 else f" on each of {streams} streams"
        raise UsageError(
            f"{fps:g} frames/s{each} are more than {MOST_ARRIVALS:,} arrivals a second: give a "
            f"lower --fps, or measure with --scenario offline what the box can do."
        )
