"""Which stored plan opens a model, and why others do not."""

from __future__ import annotations

from collections.abc import Iterator

from edgeinfer.artifact import ModelFile
from edgeinfer.model.options import LoadOptions
from edgeinfer.plan import StoredPlan, contradictions, preferred, recall_plans, why_stale
from edgeinfer.plan.stored import locate
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class Found:
    """A stored plan that fits.

    Attributes:
        running: the file that it chose.
        why: why it was taken before others that are stored, for people; empty where it is alone.
        notes: what is to be told of those that would have come first.
    """

    plan: StoredPlan
    running: ModelFile
    why: str
    notes: tuple[str, ...]


def find_plans(file: ModelFile, options: LoadOptions, passed: list[str]) -> Iterator[Found]:
    """The stored plans that fit, the one to take first.

    Args:
        passed: grows by why others do not fit, while they are looked at.

    Raises:
        ModelFileError: if a variant that the user names is no model.
    """
    if not options.use_plan:
        return
    plans, unreadable = recall_plans(file.sha256)
    passed += unreadable
    wanted = [plan for plan in plans if options.plan in (None, plan.objective)]
    for plan, why in preferred(wanted, options.recording):
        running = _fitting(plan, file, options)
        if isinstance(running, str):
            passed.append(plan.objective_text(running) if len(plans) > 1 else running)
            continue
        notes = tuple(f"another stored plan is not used: {reason}" for reason in passed)
        chosen = f", taken before others because {why}" if len(wanted) > 1 else ""
        yield Found(plan, running, chosen, notes)


def _fitting(plan: StoredPlan, file: ModelFile, options: LoadOptions) -> ModelFile | str:
    """The file that a plan chose, or why it does not fit."""
    said = contradictions(plan, options.said())
    if said:
        return f"the options say {', '.join(said)}"
    stale = why_stale(plan)
    if stale is not None:
        return f"it is out of date: {stale}"
    return locate(plan, file, options.variants)
