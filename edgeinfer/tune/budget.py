"""The time that a search may take, and what there is time for."""

from __future__ import annotations

from edgeinfer.machine import usable_cpus
from edgeinfer.timing import now_ns

# Of a small budget a block takes this share, but no block is shorter than that.
_BLOCK_SHARE = 0.02
_LEAST_BLOCK_NS = 20_000_000
# With fewer rounds nothing is decided.
_LEAST_ROUNDS = 2
# A budget that is passed by more is told.
_OVERRUN = 1.1


class Budget:
    """A budget of seconds, what is used of it, and what a candidate takes.

    Args:
        seconds: to take at most.
        began_ns: when they began to count.

    Attributes:
        extra_ns: what was done meanwhile and does not count.
        opening_ns: how long opening a candidate and comparing its answers takes, each alone.
    """

    def __init__(self, seconds: float, began_ns: int) -> None:
        self.seconds = seconds
        self._began_ns = began_ns
        self.extra_ns = 0
        self.opening_ns = 0.0

    def used(self) -> float:
        """The share that is used."""
        return (now_ns() - self._began_ns - self.extra_ns) / (self.seconds * 1e9)

    def took_s(self) -> float:
        """Seconds since it began, with what does not count."""
        return (now_ns() - self._began_ns) / 1e9

    def block_ns(self, usual_ns: int) -> int:
        """How long a block of frames lasts."""
        return min(usual_ns, max(_LEAST_BLOCK_NS, round(_BLOCK_SHARE * self.seconds * 1e9)))

    def affordable(self, share: float, block_ns: int) -> int:
        """How many more candidates can be opened and measured until so much of it is used.

        They share the processors while they open, and are measured one after the other.
        """
        left_ns = (share - self.used()) * self.seconds * 1e9
        if left_ns < self.opening_ns:
            return 0
        return int(left_ns / (self.opening_ns / usable_cpus() + _LEAST_ROUNDS * block_ns))

    def opened(self, count: int, took_ns: int) -> None:
        """So many candidates were opened side by side in this time."""
        alone = took_ns * min(usable_cpus(), count) / count
        self.opening_ns = max(self.opening_ns, alone)

    def overrun(self) -> str | None:
        """What to tell where it did not suffice."""
        if self.used() <= _OVERRUN:
            return None
        return (
            f"it took {self.used() * self.seconds:.1f} s in place of {self.seconds:g}: opening one "
            f"candidate and checking its answers takes {self.opening_ns / 1e9:.1f} s here"
        )
