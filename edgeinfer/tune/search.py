"""The search: coarse choices raced, finer ones around the leaders, the last ones paced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from edgeinfer import scratch
from edgeinfer.errors import EdgeInferError
from edgeinfer.machine import memory_limit, read
from edgeinfer.machine.energy import energy_nj
from edgeinfer.model import LoadOptions
from edgeinfer.plan import Choice
from edgeinfer.spec import TensorSpec
from edgeinfer.timing import now_ns
from edgeinfer.tune.budget import Budget
from edgeinfer.tune.candidate import Candidate, Pace
from edgeinfer.tune.frames import material
from edgeinfer.tune.judge import Judge
from edgeinfer.tune.options import Progress, TuneOptions
from edgeinfer.tune.outcome import Outcome, frames_of, statistic, why_second
from edgeinfer.tune.race import Standing, race, relative, statable
from edgeinfer.tune.space import Space
from edgeinfer.tune.verdict import busy, settle

_MOST_ALIVE = 8
# Of the budget: when looking for more to measure ends, and what is left is the finalists'.
_SEARCH_SHARE = 0.6
# A last choice is opened for the finals only while so much of the budget is left for those.
_FINALS_SHARE = 0.85
_LEADERS = 3
_FINALISTS = 4
# Within so much of the leader, measured back to back, one may still win when frames are paced.
_NEAR = 1.15
_CAMERA_FPS = 30.0
_HELD = 0.8
_MOST_ROUNDS = 1000
# One that nobody is left to beat is measured for the record only.
_ALONE_ROUNDS = 10
# How long a finalist's block lasts at most; above what other blocks last so long that there are
# enough rounds to be sure.
_FINAL_BLOCK_NS = 500_000_000
_FINAL_ROUNDS = 10
# The default sets the pace of all only while it is no slower than this against the leader.
_PACE_NEAR = 1.5
# Of the finalists nobody is let go for less: a worse median may come with a better tail.
_SPARE = 1.1


class Search:
    """One search over a space; every process that it starts ends with it.

    Args:
        options: how the model is opened apart from what is up for choice.
        open_inputs: names of inputs of whose shape nothing is known for some dimension.
        began_ns: when the time that the budget bounds began; None for now.
    """

    def __init__(
        self,
        space: Space,
        options: LoadOptions,
        asked: TuneOptions,
        tell: Progress,
        open_inputs: Sequence[str] = (),
        began_ns: int | None = None,
    ) -> None:
        self._space = space
        self._options = options
        self._asked = asked
        self._tell = tell
        self._budget = Budget(asked.budget_s, now_ns() if began_ns is None else began_ns)
        self._tried: dict[str, Candidate] = {}
        joules = asked.objective == "efficiency" and energy_nj() is not None
        self._pace = Pace(asked.objective, joules=joules)
        self._pace.block_ns = self._budget.block_ns(self._pace.block_ns)
        self._reference: Candidate | None = None
        self._judge: Judge | None = None
        self._races: list[Mapping[str, Standing]] = []
        self._default = space.default().key
        self._open_inputs = open_inputs

    def run(self) -> Outcome:
        """Search.

        Raises:
            EdgeInferError: if the reference cannot be opened, the source gives no frames, or no
                candidate is left.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(scratch.folder("edgeinfer-tune-")))
            stack.callback(self._close)
            reference = self._with_hint(folder)
            left = self._explore(self._space.coarse())
            left += self._refine()
            outcome = self._finals(reference)
            if left:
                choices = "1 choice was" if left == 1 else f"{left} choices were"
                outcome.notes.append(f"{choices} not measured: give a larger --budget to try more")
            overrun = self._budget.overrun()
            outcome.notes += [] if overrun is None else [overrun]
            return outcome

    def _close(self) -> None:
        for one in (*self._tried.values(), *([self._reference] if self._reference else [])):
            one.close()

    def _say(self, text: str) -> None:
        self._tell(text, min(1.0, self._budget.used()))

    def _with_hint(self, folder: Path) -> Candidate:
        """Open the reference; where that fails on arrays of made-up shapes, say what to give."""
        try:
            return self._open_reference(folder)
        except EdgeInferError as error:
            if not self._open_inputs or self._asked.sources or self._asked.validation:
                raise
            shapes = " ".join(f"--input-shape {name}:1x..." for name in self._open_inputs)
            raise EdgeInferError(
                f"{error} The model leaves dimensions of {', '.join(self._open_inputs)} open, and "
                f"1 was taken for each: give the shapes that it runs with ({shapes})."
            ) from error

    def _open_reference(self, folder: Path) -> Candidate:
        self._say("opening the reference")
        began = now_ns()
        one = self._reference = Candidate(self._space.reference(), pace=self._pace)
        one.start(self._options, self._asked.build)
        one.finish(self._asked.build)
        inputs, wanted = (
            tuple(
                TensorSpec(item["name"], item["dtype"], tuple(item["shape"]))
                for item in one.opened[which]
            )
            for which in ("fed_inputs", "given_inputs")
        )
        frames = folder / "frames"
        frames.mkdir()
        asked = self._asked
        pictures = one.opened["takes_pictures"]
        given = material(frames, asked.sources, asked.validation, pictures, inputs, wanted)
        self._judge = Judge(one, given, folder, asked)
        self._judge.answer_reference()
        if any(one.name == choice.key for choice in self._space.coarse()):
            self._tried[one.name] = one
            one.estimate()
        elif asked.validation is None:
            one.close()
        self._budget.opened(1, now_ns() - began)
        return one

    @property
    def judge(self) -> Judge:
        assert self._judge is not None
        return self._judge

    def _room(self) -> int:
        """How many processes may be alive at once."""
        known = [one.memory_bytes for one in self._tried.values() if one.memory_bytes]
        largest = max(known, default=1 << 28)
        return max(3, min(_MOST_ALIVE, int(0.6 * _free_bytes() / largest)))

    def _admit(self, choices: Sequence[Choice], share: float = _SEARCH_SHARE) -> int:
        """Open choices that were not tried yet, as many at once as there is room and time for.

        They open side by side: nothing is measured meanwhile. The first is opened in any case
        where nothing else is.

        Returns:
            How many there was no room or time for.
        """
        named = {choice.key: choice for choice in choices if choice.key not in self._tried}
        room = max(0, self._room() - len(self._living()))
        affordable = self._budget.affordable(share, self._pace.block_ns)
        room = min(room, max(affordable, 0 if self._living() else 1))
        fresh = [Candidate(choice, pace=self._pace) for choice in list(named.values())[:room]]
        if fresh:
            self._say(f"opening {len(fresh)} candidates")
        first = began = now_ns()
        extra_ns = self._budget.extra_ns
        for one in fresh:
            self._tried[one.name] = one
            one.start(self._options, self._asked.build)
        for one in fresh:
            self._attempt("it cannot be opened", one, partial(one.finish, self._asked.build))
        if self._asked.build:
            self._budget.extra_ns += now_ns() - began
        self.judge.answer([one for one in fresh if one.alive])
        began = now_ns()
        self.judge.evaluate([one for one in fresh if one.alive], self._say)
        self._budget.extra_ns += now_ns() - began
        for one in fresh:
            if one.alive:
                self._attempt("measuring it failed", one, one.estimate)
        if fresh:
            took = now_ns() - first - (self._budget.extra_ns - extra_ns)
            self._budget.opened(len(fresh), took)
        return len(named) - len(fresh)

    def _attempt(self, what: str, one: Candidate, work: Callable[[], None]) -> None:
        try:
            work()
        except EdgeInferError as error:
            one.reject(f"{what}: {error}")

    def _living(self) -> list[Candidate]:
        return [one for one in self._tried.values() if one.alive]

    def _race(self) -> None:
        """Measure those that live against each other; who loses is let go."""
        living = self._living()
        standings = race(
            living,
            rounds=6,
            until=lambda: self._budget.used() > _SEARCH_SHARE,
            hold=self._default,
            tell=lambda done: self._say(f"measuring {len(living)} candidates"),
        )
        self._races.append(standings)
        for one in living:
            one.standing = standings[one.name]
            if one.standing.out is not None:
                one.reject(one.standing.out)

    def _ranked(self) -> list[Candidate]:
        return sorted(self._living(), key=_cost)

    def _explore(self, choices: Sequence[Choice]) -> int:
        """Try choices, as many at once as there is room for; the leaders stay.

        Returns:
            How many were not tried because time was up.
        """
        left = len(choices)
        while left:
            tried = len(self._tried)
            left = self._admit(choices)
            if len(self._tried) == tried:
                return left
            self._race()
            ranked = self._ranked()
            # The default stays in any case, and one more must find room beside them.
            for one in ranked[max(1, min(_LEADERS, self._room() - 2)) :]:
                if one.name != self._default:
                    one.reject(_behind(one, ranked[0]))
            if self._budget.used() >= _SEARCH_SHARE:
                return left
        return 0

    def _refine(self) -> int:
        """Try what is one step away from the leaders, until nothing is new or time is up."""
        spinning = self._asked.objective != "latency"
        while True:
            steps = [
                step
                for one in self._ranked()[:_LEADERS]
                for step in self._space.around(one.choice, spinning)
            ]
            fresh = [step for step in steps if step.key not in self._tried]
            if not fresh:
                return 0
            tried = len(self._tried)
            left = self._explore(fresh)
            if self._budget.used() >= _SEARCH_SHARE or len(self._tried) == tried:
                return left

    def _finals(self, reference: Candidate) -> Outcome:
        finalists = self._finalists()
        if not finalists:
            reasons = "; ".join(
                f"{one.choice.text()}: {one.rejected}" for one in self._tried.values()
            )
            raise EdgeInferError(f"No candidate can be chosen: {reasons}.")
        fps = self._paced(finalists)
        left_ns = (1.0 - self._budget.used()) * self._asked.budget_s * 1e9
        wanted = left_ns / (_FINAL_ROUNDS * len(finalists))
        self._pace.block_ns = round(max(self._pace.block_ns, min(_FINAL_BLOCK_NS, wanted)))
        for one in finalists:
            one.paced = bool(self._pace.interval_ns)
        standings = race(
            finalists,
            rounds=_MOST_ROUNDS if len(finalists) > 1 else _ALONE_ROUNDS,
            until=lambda: self._budget.used() >= 1.0,
            keep=2,
            hold=self._default,
            spare=_SPARE if self._asked.objective == "latency" else 1.0,
            tell=lambda done: self._say(f"measuring {len(finalists)} finalists"),
        )
        self._races.append(standings)
        left = []
        for one in finalists:
            one.standing = standings[one.name]
            if one.standing.out is None:
                left.append(one)
            else:
                one.reject(one.standing.out)
        if not left:
            raise EdgeInferError("Every finalist failed while it was measured; tune again.")
        stands = {one.name: standings[one.name] for one in left}
        q = statable(list(stands.values())) if self._asked.objective == "latency" else 0.5
        simplicity = {one.name: self._space.distance(one.choice) for one in left}
        name, doubted = settle(stands, simplicity, q, self._default)
        for one in left:
            if one.name != name:
                one.rejected = doubted.get(one.name) or why_second(one, self._tried[name])
        return Outcome(
            best=self._tried[name],
            speedup=relative(self._races[::-1], name, self._default),
            candidates=list(self._tried.values()),
            reference=reference,
            material=self.judge.material,
            judge=self.judge,
            statistic=statistic(
                self._asked.objective, q, frames_of(stands[name]), fps, self._pace.joules
            ),
            fps=fps,
            seconds=self._budget.took_s(),
            notes=[*self.judge.notes(), *self._doubts(name, doubted)],
        )

    def _doubts(self, winner: str, doubted: Mapping[str, str]) -> list[str]:
        """What a reader must know of the measurement itself."""
        notes = []
        if doubted and winner == self._default:
            notes.append("nothing was surely better than the default, so the default was chosen")
        if any(busy(race[self._default]) for race in self._races if self._default in race):
            notes.append("the box was busy while measuring: tune again when it is quiet")
        return notes

    def _finalists(self) -> list[Candidate]:
        """Those near the leader, and the same with idle threads otherwise, which only paced frames
        tell apart."""
        ranked = self._ranked()
        for one in ranked:
            if _cost(one) > _NEAR * _cost(ranked[0]) and one.name != self._default:
                one.reject(_behind(one, ranked[0]))
        twins = [spin for one in self._ranked() for spin in self._space.spins(one.choice)]
        self._admit(twins[: max(1, _FINALISTS - len(self._living()))], _FINALS_SHARE)
        return self._living()

    def _paced(self, finalists: Sequence[Candidate]) -> float | None:
        """Set the pace: what was asked for, else what every finalist holds, at most a camera's.

        A default that is far behind would slow down all: it does not count.
        """
        if self._asked.objective == "throughput" or self._asked.fps == 0:
            return None
        leader = min(_cost(one) for one in finalists)
        counted = [
            one
            for one in finalists
            if one.name != self._default or not _cost(one) > _PACE_NEAR * leader
        ]
        slowest = max(one.frame_ns for one in counted)
        fps = self._asked.fps or min(_CAMERA_FPS, _HELD * 1e9 / slowest)
        self._pace.interval_ns = round(1e9 / fps)
        return fps


def _behind(one: Candidate, leader: Candidate) -> str:
    return f"{_cost(one) / _cost(leader):.2f} times the cost of the best"


def _cost(one: Candidate) -> float:
    return one.standing.cost_ns if one.standing and one.standing.blocks else float("inf")


def _free_bytes() -> int:
    """Memory that more processes may take."""
    free = 1 << 30
    for line in (read(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = memory_limit()
    return free if limit is None else min(free, limit)
