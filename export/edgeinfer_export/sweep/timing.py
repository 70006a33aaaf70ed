"""How fast the files of a sweep are: on the provider that the target names, where it is here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeinfer.errors import EdgeInferError, UsageError
from edgeinfer.machine import this_machine
from edgeinfer.model import why_unfit
from edgeinfer_export.commands import Ready
from edgeinfer_export.gate.speed import Speed, provider_for, race_files, why_untimed
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.steps.openable import write_openable


def check_box(target: str | None) -> str | None:
    """What to tell before long work starts, if latency cannot be measured where it counts.

    Raises:
        UsageError: if the target is another kind of processor than this box has.
    """
    unfit = why_unfit(target, provider_for(target), this_machine())
    if unfit is not None:
        raise UsageError(
            f"A sweep measures latency on this box, which --target {target} does not fit: {unfit}."
        )
    why = why_untimed(target)
    return None if why is None else _elsewhere(target, why)


def time_models(
    models: Mapping[str, Ready], options: ExportOptions, folder: Path
) -> tuple[Speed, tuple[str, ...]]:
    """Race models that are not published yet.

    A sweep needs figures: where the target's provider does not run all of them here, the CPU does.

    Args:
        models: by name.
        options: with validation data.
        folder: for files that are needed meanwhile.

    Returns:
        What was measured, and what is to be told of where.
    """
    target, data = options.int8_target, options.validation or ""
    provider = provider_for(target)
    files = {name: ready.files[-1][0] for name, ready in models.items()}
    if provider == "cpu":
        return race_files(files, data, provider), ()
    why = why_untimed(target)
    if why is None:
        try:
            raced = race_files(files, data, provider)
        except EdgeInferError as error:
            why = str(error)
        else:
            return raced, (f"latency was measured on {provider}, as --target {target} names it",)
    files = {name: _for_any_box(ready, folder) for name, ready in models.items()}
    return race_files(files, data, "cpu"), (_elsewhere(target, why),)


def _elsewhere(target: str | None, why: str) -> str:
    return (
        f"latency is that of the provider cpu, which says little about {provider_for(target)}, the "
        f"one that --target {target} names and that does not run them here: {why.rstrip('.')}. "
        f"Measure the files with 'edgeinfer bench' where it does"
    )


def _for_any_box(ready: Ready, folder: Path) -> Path:
    """The file, or a copy that the CPU opens."""
    import onnx

    made = ready.files[-1][0]
    if ready.exported.spec.target is None:
        return made
    model = onnx.load(str(made), load_external_data=False)
    return write_openable(model, ready.exported.spec, folder / made.name, made.parent)
