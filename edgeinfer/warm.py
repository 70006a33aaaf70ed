"""Build ahead what opening a model would build or could take from the cache."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from edgeinfer import cache, compiled
from edgeinfer.compiled import Artefact
from edgeinfer.errors import EdgeInferError
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers import optimized
from edgeinfer.records import dataclass

SCHEMA = "edgeinfer.warm/1"


@dataclass(frozen=True)
class Warmed:
    """What opening a model takes from the cache from now on.

    Attributes:
        summary: what runs the model, as `Model.summary` says it.
        built: what was built now. found: what was there already.
        vetted: whether the file was vetted now; else its verdict was remembered.
        first_ns: how long opening took with all the building; then_ns: how long it takes now.
        notes: what is worth telling about the opening, for people.
    """

    summary: dict[str, Any]
    built: tuple[Artefact, ...]
    found: tuple[Artefact, ...]
    vetted: bool
    first_ns: int
    then_ns: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document of `warm --format json`."""
        return {
            "schema": SCHEMA,
            **{key: value for key, value in self.summary.items() if key != "schema"},
            "artefacts": [
                {**item.to_dict(), "built": built}
                for items, built in ((self.built, True), (self.found, False))
                for item in items
            ],
            "vetted": self.vetted,
            "opening_ns": {"first": self.first_ns, "then": self.then_ns},
            "notes": list(self.notes),
            "cache": {"path": str(cache.root()), "bytes": cached_bytes()},
        }


def cached_bytes() -> int:
    """Bytes of all compiled artefacts."""
    return sum(item.size for item in compiled.artefacts())


def warm(path: Path, options: LoadOptions) -> Warmed:
    """Open a model once, building everything that later openings then find.

    That is the verdict of vetting, the variant with preprocessing in the graph where options or a
    stored plan ask for it, engines and blobs of the provider that runs it, and the graph as ONNX
    Runtime's CPU provider optimizes it.

    Raises:
        EdgeInferError: if the model cannot be opened, or the cache does not take what was built.
    """
    options = dataclasses.replace(options, build=True)
    there = {_identity(item) for item in compiled.artefacts()}
    known = _verdicts()
    with compiled.refusals() as refused, optimized.ahead(), open_model(path, options) as model:
        first_ns = model.opening_ns
    if refused:
        raise EdgeInferError(
            f"{path} runs, but it will not open any faster: {'; '.join(refused)}. Make room or "
            f"rights there, or name another folder in EDGEINFER_CACHE."
        )
    with open_model(path, options) as model:
        used = set(compiled.held())
        taken = [item for item in compiled.artefacts() if item.path in used]
        verdict = f"{model.running.sha256}.json"
        return Warmed(
            summary=model.summary(),
            built=tuple(item for item in taken if _identity(item) not in there),
            found=tuple(item for item in taken if _identity(item) in there),
            vetted=_verdicts().get(verdict) != known.get(verdict),
            first_ns=first_ns,
            then_ns=model.opening_ns,
            notes=tuple(model.notes),
        )


def _identity(item: Artefact) -> tuple[Path, int]:
    """Tells an artefact from one that took its place because it was damaged."""
    return item.path, item.built_ns


def _verdicts() -> dict[str, int]:
    """The verdicts of vetting that are remembered, and when each was noted."""
    try:
        with os.scandir(cache.root() / "vetted") as entries:
            return {entry.name: entry.stat().st_mtime_ns for entry in entries}
    except OSError:
        return {}
