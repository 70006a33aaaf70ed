"""tune(): from a model to a stored plan."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeinfer.artifact import ModelFile, open_model_file, precision_of, read_graph
from edgeinfer.machine import this_machine
from edgeinfer.model import LoadOptions, open_session
from edgeinfer.plan import (
    SCHEMA,
    StoredPlan,
    Variant,
    find_variants,
    plan_path,
    recall_plans,
    sealed,
    store_plan,
    versions_of,
)
from edgeinfer.records import dataclass
from edgeinfer.results import finite
from edgeinfer.timing import now_ns
from edgeinfer.tune.options import Progress, TuneOptions
from edgeinfer.tune.outcome import Outcome
from edgeinfer.tune.search import Search
from edgeinfer.tune.space import Space, space


@dataclass(frozen=True, eq=False)
class Tuned:
    """What tuning came to.

    Attributes:
        document: the plan with its evidence (schema ``edgeinfer.plan/1``).
        path: where it was stored, None where the cache refused.
        refused: why it did, with the folder.
        plans: all that is stored for the model now, this one included.
    """

    document: Mapping[str, Any]
    path: Path | None
    refused: str | None = None
    plans: tuple[StoredPlan, ...] = ()


def tune(
    path: Path,
    options: LoadOptions | None = None,
    asked: TuneOptions | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Measure what can run a model here, and store the best choice with its evidence.

    Nothing is stored unless the search came to its end.

    Args:
        path: an ONNX file.
        options: how it is opened; what is said there is not up for choice.
        asked: objective, budget, frames.
        progress: called with what is being done and the share of the time that is used.

    Raises:
        ModelFileError: if the file, or a variant that is named, is no model or no variant.
        EdgeInferError: if it cannot be opened, or nothing can be chosen.
        UsageError: for unknown names.
    """
    began = now_ns()
    options = options or LoadOptions()
    asked = asked or TuneOptions()
    tell = progress or (lambda text, share: None)
    file = open_model_file(path)
    tell("looking at the model", 0.0)
    pictures, open_inputs = _inputs(path, dataclasses.replace(options, build=asked.build))
    variants = [_with_precision(one) for one in find_variants(file, options.variants)]
    everything = space(variants, options, asked.objective == "throughput", pictures)
    outcome = Search(everything, options, asked, tell, open_inputs, began).run()
    document = sealed(_document(file, options, asked, everything, outcome))
    stored = store_plan(file.sha256, document)
    refused = None if stored else _why_refused(plan_path(file.sha256, asked.objective).parent)
    return Tuned(document, stored, refused, tuple(recall_plans(file.sha256)[0]))


def _why_refused(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(1 << 16))
    except OSError as error:
        return f"{folder} refuses it ({error.strerror or error})"
    return f"{folder} refused it a moment ago"


def _inputs(path: Path, options: LoadOptions) -> tuple[bool, list[str]]:
    """Whether preprocessing can move at all, and which tensors leave dimensions open.

    It also says at once what is wrong with the model.
    """
    session = open_session(path, dataclasses.replace(options, use_plan=False, preprocess="host"))
    try:
        pictures = [item.name for item in session.resolve(options).inputs if item.kind == "image"]
        unknown = [
            item.name
            for item in session.graph_inputs
            if item.name not in pictures
            and item.name not in options.input_shapes
            and not all(isinstance(size, int) for size in item.shape)
        ]
        return bool(pictures), unknown
    finally:
        session.close()


def _with_precision(variant: Variant) -> Variant:
    if variant.precision:
        return variant
    return dataclasses.replace(variant, precision=precision_of(read_graph(variant.file.path)))


def _document(
    file: ModelFile, options: LoadOptions, asked: TuneOptions, space_: Space, outcome: Outcome
) -> dict[str, Any]:
    best = outcome.best
    document = {
        "schema": SCHEMA,
        "objective": asked.objective,
        "statistic": outcome.statistic,
        "fps": outcome.fps,
        "seconds": round(outcome.seconds, 1),
        "stored_ns": time.time_ns(),
        "model": {
            "path": str(file.path.resolve()),
            "sha256": file.sha256,
            "inputs": best.opened["spec"]["inputs"],
            "graph_inputs": best.opened["graph_inputs"],
            "input_shapes": {k: list(v) for k, v in options.input_shapes.items()},
        },
        "best": best.to_dict(),
        "speedup": None if outcome.speedup is None else round(outcome.speedup, 3),
        "candidates": [one.to_dict() for one in outcome.candidates],
        "skipped_providers": dict(space_.skipped),
        "parity": outcome.judge.to_dict(),
        "variants": [one.to_dict() for one in space_.variants],
        "notes": outcome.notes,
        "machine": this_machine().to_dict(),
        "versions": versions_of(best.choice.provider),
    }
    clean: dict[str, Any] = finite(document)[0]
    return clean
