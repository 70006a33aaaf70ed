"""Fresh processes for every model, turns by the scenario, a watch on the box: one report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer.machine import this_machine
from edgeinfer.machine.energy import energy_between
from edgeinfer.timing import now_ns
from edgeinfer_bench.bout import Bout
from edgeinfer_bench.boxstate import BoxState, look
from edgeinfer_bench.boxwatch import BoxWatch
from edgeinfer_bench.options import DEFAULT_DURATION_S, BenchOptions
from edgeinfer_bench.report import Report, now_iso
from edgeinfer_bench.result import MODEL_KEYS, BenchResult
from edgeinfer_bench.rig import Process
from edgeinfer_bench.scenarios import SCENARIOS, Part, Progress, Scenario
from edgeinfer_bench.scenarios.base import within
from edgeinfer_bench.validity import judge
from edgeinfer_bench.versions import versions


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or SIGTERM, during a run that has something to report; its cause says which.

    Attributes:
        report: what was measured until then, marked INVALID.
    """

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


@dataclass(frozen=True)
class Contestant:
    """One model of a run.

    Attributes:
        start: makes a process for it, not yet open.
        operators: times its operators in a process of its own, or raises; None: nobody asks.
    """

    label: str
    start: Callable[[], Process]
    operators: Callable[[], Mapping[str, Any]] | None = None


@dataclass
class _Run:
    """What a run has come to so far."""

    contestants: Sequence[Contestant]
    options: BenchOptions
    scenario: Scenario
    watch: BoxWatch
    notes: tuple[str, ...] = ()
    bouts: dict[str, list[Bout]] = field(default_factory=dict)
    operators: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def replicate(self, part: Part, progress: Progress) -> bool:
        """One fresh process of each model; False where one of them broke down.

        Of several models, those that cannot be opened the first time are left out.

        Raises:
            EdgeInferError: if no model can be opened the first time.
        """
        with contextlib.ExitStack() as stack:
            whole = []
            for one in self._in_turn(part.index):
                bout = self._opened(one, part, stack)
                if bout is not None:
                    whole.append(bout)
                elif part.index:
                    return False
            if part.index == 0:
                opened = {bout.label for bout in whole}
                self.contestants = [one for one in self.contestants if one.label in opened]
            for bout in whole:
                self.bouts.setdefault(bout.label, []).append(bout)
            self.scenario.measure(whole, part, progress)
            for bout in whole:
                bout.finish()
        return not any(bout.over for bout in whole)

    def _in_turn(self, index: int) -> list[Contestant]:
        """Another one is opened first in each replicate: the first process that is opened was
        slower by up to one hundredth than those after it, all through the run."""
        first = index % len(self.contestants)
        return [*self.contestants[first:], *self.contestants[:first]]

    def _opened(
        self, contestant: Contestant, part: Part, stack: contextlib.ExitStack
    ) -> Bout | None:
        """A process with the model open; None where that fails, and there are others."""
        process = contestant.start()
        stack.callback(process.close)
        bout = Bout(contestant.label, process)
        try:
            bout.open()
        except EdgeInferError as error:
            alone = part.index == 0 and len(self.broken) + 1 == len(self.contestants)
            if alone or isinstance(error, UsageError):
                raise
            which = "it" if part.index == 0 else f"process {part.index + 1}"
            self.broken.append(f"{bout.label}: {which} could not be opened: {error}")
            return None
        return bout

    def report(self, command: str) -> Report:
        """Everything that was measured."""
        samples = self.watch.samples
        results = [self._result(one.label) for one in self.contestants if one.label in self.bouts]
        periods = [
            period for bouts in self.bouts.values() for bout in bouts for period in bout.periods
        ]
        validity = judge(results, samples, periods, self.broken)
        read = _plain({"evidence": validity.evidence, "machine": this_machine().to_dict()})
        return Report(
            command,
            now_iso(),
            read["machine"],
            versions(),
            replace(validity, notes=(*self._told(), *validity.notes), evidence=read["evidence"]),
            tuple(results),
        )

    def _told(self) -> tuple[str, ...]:
        """The run's own notes, and what each model said when it was opened: its stored plan."""
        opened = [
            f"{label}: {note}."
            for label, bouts in self.bouts.items()
            for note in dict.fromkeys(
                note for bout in bouts for note in bout.know.about.get("notes", ())
            )
        ]
        return (*self.notes, *opened)

    def _result(self, label: str) -> BenchResult:
        bouts = self.bouts[label]
        last = bouts[-1]
        about = last.know.about if last.closing is None else last.closing.about
        source = last.know.source if last.closing is None else last.closing.source
        flags = dict.fromkeys(about.get("flags") or ())
        for bout in bouts:
            seen = {} if bout.closing is None else bout.closing.evidence
            loops = seen.get("source_loops") or 0
            source = {**source, "loops": max(source.get("loops") or 0, loops)}
            flags.update(dict.fromkeys(sorted(seen.get("flagged_frames") or ())))
        return BenchResult(
            label=label,
            scenario=self.options.scenario,
            about=_plain({**{key: about.get(key) for key in MODEL_KEYS}, "flags": list(flags)}),
            replicates=tuple(bout.replicate() for bout in bouts),
            source=_plain(source),
            block=self.scenario.block,
            arrival=_plain(self.scenario.arrival(label, last.know.lanes)),
            operators=self.operators.get(label),
            energy=self._energy(bouts),
        )

    def _energy(self, bouts: Sequence[Bout]) -> dict[str, Any] | None:
        """Of the whole box while this model was measured; None where turns are shorter than the
        time between two looks at the counters, which then belong to all models alike."""
        if self.scenario.block is not None and self.options.scenario == "single":
            return None
        frames = sum(turn.frames for bout in bouts for turn in bout.turns)
        periods = [period for bout in bouts for period in bout.periods]
        found = energy_between(self.watch.samples, periods)
        if found is None or not frames:
            return None
        return {"source": found[0], "joules_per_frame": found[1] / frames}


def run(
    contestants: Sequence[Contestant],
    options: BenchOptions,
    *,
    command: str,
    notes: Sequence[str] = (),
    clock: Callable[[], int] = now_ns,
    observe: Callable[[], BoxState] = look,
    progress: Progress | None = None,
) -> Report:
    """Measure contestants; what `bench` and `bench_many` stand on.

    Args:
        contestants: at least one, with labels that differ.
        command: what repeats this run. notes: what a reader should know beforehand.
        clock: monotonic nanoseconds. observe: looks at the box.
        progress: called between turns with the share that is done.

    Returns:
        A report. A model that fails half-way ends the run: the report says INVALID and why.

    Raises:
        UsageError: if there is nothing to measure.
        EdgeInferError: if a model or a source cannot be opened.
        Interrupted: for Ctrl-C or SIGTERM, with the report of what was measured before.
    """
    if not contestants:
        raise UsageError("There is no model to measure.")
    tell = progress or (lambda share: None)
    free = options.frames is None and options.duration_s is None
    if len(contestants) > 1 and free and options.scenario != "server":
        # Small differences take many turns.
        options = replace(options, duration_s=DEFAULT_DURATION_S)
    watch = BoxWatch(observe, clock)
    state = _Run(contestants, options, SCENARIOS[options.scenario](options), watch, tuple(notes))
    try:
        with watch:
            for index in range(options.replicates):
                part = Part.of(options, index)
                if part.frames == 0:
                    break
                whole = state.replicate(part, within(tell, index, options.replicates))
                if not whole:
                    break
    except (KeyboardInterrupt, SystemExit) as stopped:
        if any(bout.turns for bouts in state.bouts.values() for bout in bouts):
            state.broken.append("The run was interrupted: this is what was measured until then.")
            raise Interrupted(state.report(command)) from stopped
        raise
    if watch.error is not None:
        state.broken.append(f"The box could not be watched to the end: {watch.error}")
    try:
        _add_operators(state)
    except (KeyboardInterrupt, SystemExit) as stopped:  # the measurement itself is whole
        raise Interrupted(state.report(command)) from stopped
    tell(1.0)
    return state.report(command)


def _add_operators(state: _Run) -> None:
    """Time operators after everything else: it takes profiling, which takes time itself."""
    for contestant in state.contestants:
        if contestant.operators is not None:
            try:
                found: Mapping[str, Any] = contestant.operators()
            except EdgeInferError as error:
                found = {"reason": str(error)}
            state.operators[contestant.label] = _plain(found)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it is when read back from JSON, so that a report equals its own file."""
    read: dict[str, Any] = json.loads(json.dumps(value))
    return read
