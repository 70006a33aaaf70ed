"""Every error that edgeinfer raises on purpose.

    EdgeInferError               exit code 1: an expected failure
    ├── UsageError               exit code 2: grammar, unknown names
    ├── ModelFileError           the file is missing, empty, damaged or not a model
    ├── SpecError                what the model means is unknown, ambiguous or contradictory
    ├── InputError               names, shapes or types that the model does not take
    ├── ProviderError            what was asked for cannot run here
    ├── SourceError              frames cannot be read
    ├── SinkError                results cannot be written
    ├── ReportError              a benchmark report that cannot be read
    ├── MissingPackageError      an extra is not installed
    └── CheckFailed              exit code 4: the check ran and said no

Libraries raise these; only the command line turns them into exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgeInferError(Exception):
    """The root of all errors of edgeinfer: what happened, the value seen, what to do next."""

    exit_code = 1


class UsageError(EdgeInferError):
    """A name or an option that does not exist."""

    exit_code = 2


class ModelFileError(EdgeInferError):
    """A model file that cannot be opened."""


class SpecError(EdgeInferError):
    """A model whose meaning is unknown, ambiguous or contradicts itself."""


class InputError(EdgeInferError):
    """An input that the model does not take."""


class ProviderError(EdgeInferError):
    """A provider that cannot do what was asked."""


class SourceError(EdgeInferError):
    """A source whose frames cannot be read.

    Attributes:
        stream: which one of the source's streams it was, where that is known.
        index: which frame of it.
        for_good: whether it is certain that opening it again does not help.
    """

    stream: str | None = None
    index: int | None = None
    for_good: bool = False


class SinkError(EdgeInferError):
    """A place that results cannot be written to."""


class ReportError(EdgeInferError):
    """A benchmark report that is missing, cut off or of another version."""


class MissingPackageError(EdgeInferError):
    """A package that belongs to an extra and is not installed."""


class CheckFailed(EdgeInferError):
    """A check that ran to its end and said no."""

    exit_code = 4


# So many errors of one kind are told one by one.
TOLD = 10


def worth_telling(count: int) -> bool:
    """Whether to tell the count-th error of a kind that may come for a year: the first ones, then
    each that makes ten times as many, so that no log fills up."""
    return count <= TOLD or str(count).strip("0") == "1"


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which of the known names is meant, or list them all.

    Returns:
        A sentence such as ``Did you mean 'cuda'?`` or ``Known: cpu, cuda.``.
    """
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names)}."
