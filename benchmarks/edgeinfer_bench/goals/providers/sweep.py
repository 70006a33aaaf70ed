"""Every configuration that could be chosen, measured; no early losers, no shortcuts."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeinfer.artifact import open_model_file
from edgeinfer.errors import EdgeInferError
from edgeinfer.model import LoadOptions
from edgeinfer.plan import Choice, find_variants
from edgeinfer.spec import TensorSpec
from edgeinfer.tune.candidate import Candidate, Pace
from edgeinfer.tune.frames import material
from edgeinfer.tune.judge import Judge
from edgeinfer.tune.options import TuneOptions
from edgeinfer.tune.race import Block, Standing, race
from edgeinfer.tune.space import Space, space
from edgeinfer_bench.goals.providers.subjects import Subject

# So many processes are alive at once; the best two of each group meet again.
_GROUP = 8
# Of each of the two that are compared in the end.
_PROCESSES = 3


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep found.

    Attributes:
        best: the fastest configuration whose answers are the reference's.
        measured: how many were measured. refused: how many answered otherwise or did not open.
    """

    best: Choice
    measured: int
    refused: int


@dataclass(frozen=True, eq=False)
class _Runner:
    """A candidate under another name, so that one configuration may race against itself."""

    name: str
    candidate: Candidate

    def block(self) -> Block:
        return self.candidate.block()


def grid(place: Space) -> Iterator[Choice]:
    """All combinations: provider and options, variant, threads, preprocessing, spinning."""
    default = place.default()
    for (provider, sets), variant in itertools.product(place.providers.items(), place.variants):
        for options, threads, where in itertools.product(sets, place.threads, place.preprocess):
            choice = dataclasses.replace(
                default,
                provider=provider,
                options=options,
                variant=variant.file.sha256,
                path=variant.file.path.resolve(),
                precision=variant.precision,
                threads=threads,
                preprocess=where,
            )
            yield choice
            yield from place.spins(choice)


class Arena:
    """Where configurations of one model are measured, on the frames that it was tuned on.

    Args:
        pace: of the frames.

    Raises:
        EdgeInferError: if the FP32 reference cannot be opened.
    """

    def __init__(self, subject: Subject, pace: Pace) -> None:
        self._subject = subject
        self._pace = pace
        variants = find_variants(open_model_file(subject.path), (subject.int8,))
        self.space = space(variants, LoadOptions(), throughput=False, pictures=subject.pictures)
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="edgeinfer-sweep-")
            self._folder = Path(stack.enter_context(folder))
            self._judge = self._reference()
            self._stack = stack.pop_all()

    def _reference(self) -> Judge:
        frames = self._folder / "frames"
        frames.mkdir()
        asked = TuneOptions(source=self._subject.source)
        with ExitStack() as stack:
            opened = self._open([self.space.reference()], stack)
            if not opened:
                raise EdgeInferError(f"The FP32 file of {self._subject.name} does not open here.")
            told = opened[0].opened
            inputs = tuple(
                TensorSpec(item["name"], item["dtype"], tuple(item["shape"]))
                for item in told["fed_inputs"]
            )
            given = material(frames, asked.sources, None, told["takes_pictures"], inputs)
            judge = Judge(opened[0], given, self._folder, asked)
            judge.answer_reference()
        return judge

    def _open(self, choices: Sequence[Choice], stack: ExitStack) -> list[Candidate]:
        """Processes that hold one configuration each, of those that open; they end with the
        stack."""
        started = [Candidate(choice, pace=self._pace) for choice in choices]
        for one in started:
            stack.callback(one.close)
            one.start(LoadOptions(), False)
        return [one for one in started if _opened(one)]

    def _race(self, choices: Sequence[Choice], rounds: int) -> list[tuple[Choice, Standing]]:
        """Those that open and answer as the reference does, measured in turns to the end."""
        with ExitStack() as stack:
            opened = self._open(choices, stack)
            # One after the other where one configuration is there twice.
            for one in opened:
                self._judge.answer([one])
            living = [_Runner(str(at), one) for at, one in enumerate(opened) if one.alive]
            for runner in living:
                runner.candidate.estimate()
            standings = race(living, rounds=rounds, keep=len(living))
            found = [(one.candidate.choice, standings[one.name]) for one in living]
            return [(choice, standing) for choice, standing in found if not standing.failed]

    def sweep(self, rounds: int) -> Swept:
        """Measure every configuration; the least median of block medians wins.

        Raises:
            EdgeInferError: if none can be measured.
        """
        choices = list(grid(self.space))
        leaders: list[tuple[Choice, Standing]] = []
        measured = 0
        for start in range(0, len(choices), _GROUP):
            group = _ranked(self._race(choices[start : start + _GROUP], rounds))
            measured += len(group)
            leaders += group[:2]
        if not leaders:
            raise EdgeInferError(f"No configuration of {self._subject.name} can be measured here.")
        if len(choices) > _GROUP:
            leaders = _ranked(self._race([choice for choice, _ in leaders], 2 * rounds))
        return Swept(leaders[0][0], measured, len(choices) - measured)

    def compare(self, best: Choice, plan: Choice, rounds: int) -> tuple[Standing, Standing]:
        """Both in turns, each in several new processes: one process may be luckier than another.

        Raises:
            EdgeInferError: if one of them does not open or answer again.
        """
        found = self._race([best, plan] * _PROCESSES, rounds)
        if len(found) < 2 * _PROCESSES:
            raise EdgeInferError("The plan or the best of the sweep does not open again.")
        return _together(found[::2]), _together(found[1::2])

    def close(self) -> None:
        """Remove the frames."""
        self._stack.close()


def _together(found: Sequence[tuple[Choice, Standing]]) -> Standing:
    return Standing([block for _, standing in found for block in standing.blocks])


def _opened(one: Candidate) -> bool:
    try:
        one.finish(False)
    except EdgeInferError as error:
        one.reject(str(error))
    return one.alive


def _ranked(measured: list[tuple[Choice, Standing]]) -> list[tuple[Choice, Standing]]:
    return sorted(measured, key=lambda item: item[1].cost_ns)
