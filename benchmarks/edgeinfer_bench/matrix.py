"""Models times providers times precisions: the cells of one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.artifact import ModelFile, open_model_file
from edgeinfer.errors import UsageError, suggest
from edgeinfer.sniff import is_model
from edgeinfer.sources.public import public_source
from edgeinfer_bench.api import Cell
from edgeinfer_bench.report import unique

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions

# All cells are live at once, so that they can take turns.
_MOST_CELLS = 32


def split_arguments(rest: Sequence[str]) -> tuple[list[Path], str | None]:
    """What follows the first model: more models, then perhaps the source of frames.

    Raises:
        UsageError: for two sources.
    """
    models = [Path(text) for text in rest if is_model(text)]
    sources = [text for text in rest if not is_model(text)]
    if len(sources) > 1:
        raise UsageError(
            f"Frames come from one source, and {len(sources)} were given ("
            f"{', '.join(map(public_source, sources))}): name one folder, glob or video."
        )
    return models, sources[0] if sources else None


def cells_of(
    models: Sequence[Path],
    options: LoadOptions,
    providers: Sequence[str] = (),
    precisions: Sequence[str] = (),
) -> list[Cell]:
    """A cell for each model, provider and precision, labelled by what differs.

    Stored plans stay unused where there are several cells or a precision is named: one could run
    the same file for all of them.

    Args:
        providers: as ``--provider`` takes them; none: as the options say.
        precisions: of the variants that are measured; none: the files as they are.

    Raises:
        UsageError: for a precision that a model has no variant of, or too many cells.
        ModelFileError: if a file is missing or no model: before anything is measured.
    """
    known = {model: open_model_file(model) for model in dict.fromkeys(models)}
    files = [
        (model, path, name)
        for model in models
        for path, name in (_variants(known[model], options, precisions) or [(model, "")])
    ]
    names = list(dict.fromkeys(providers)) or [options.provider]
    count = len(files) * len(names)
    if count > _MOST_CELLS:
        raise UsageError(f"{count} models would be open at once; measure at most {_MOST_CELLS}.")
    labels = unique(
        [
            " ".join([model.stem, *([precision] if precision else []), *(names[1:] and [provider])])
            for model, _, precision in files
            for provider in names
        ]
    )
    use_plan = options.use_plan and count == 1 and not precisions
    alone = dataclasses.replace(options, use_plan=use_plan)
    opened = [
        (path, dataclasses.replace(alone, provider=provider))
        for _, path, _ in files
        for provider in names
    ]
    return [
        Cell(label, path, opening) for label, (path, opening) in zip(labels, opened, strict=True)
    ]


def _variants(
    model: ModelFile, options: LoadOptions, precisions: Sequence[str]
) -> list[tuple[Path, str]]:
    """The files of a model in these precisions."""
    if not precisions:
        return []
    from edgeinfer.plan import find_variants

    found: dict[str, Path] = {}
    for variant in find_variants(model, options.variants):
        found.setdefault(variant.precision or "fp32", variant.file.path)
    missing = [name for name in precisions if name not in found]
    if missing:
        raise UsageError(
            f"{model.path} has no variant in {missing[0]}. {suggest(missing[0], found)} Export one "
            f"from it, or name its file with --variant."
        )
    return [(found[name], name) for name in dict.fromkeys(precisions)]
