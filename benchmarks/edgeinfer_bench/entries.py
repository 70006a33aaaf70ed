"""From a file and a source's name to an entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import edgeinfer
from edgeinfer_bench.subject import Entry, Subject

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions, Model
    from edgeinfer.sources import Source

_SYNTHETIC = "synthetic"
# Real frames for who names none: the video of `edgeinfer demo`.
_VIDEO = Path(edgeinfer.__file__).parent / "cli" / "demo_data" / "conveyor.mp4"


def entry_for(
    path: Path,
    source: str | None,
    options: LoadOptions,
    wrap: Callable[[Subject], Subject] | None = None,
) -> Entry:
    """An entry that opens an ONNX file with edgeinfer.

    Args:
        source: what `edgeinfer.open_source` takes; None: the video that ships with edgeinfer, and
            seeded random arrays for models that take more than a picture, or none.
        wrap: put between the harness and the model.
    """

    def open_subject() -> Subject:
        from edgeinfer.model import open_model

        model = cast(Subject, open_model(path, options))
        return model if wrap is None else wrap(model)

    return Entry(open_subject, lambda model: _frames(cast("Model", model), source))


def _frames(model: Model, source: str | None) -> Source:
    from edgeinfer.sources import RandomArrays, open_source

    if source is None:
        source = str(_VIDEO) if model.takes_pictures else _SYNTHETIC
    if source == _SYNTHETIC and not model.takes_pictures:
        return RandomArrays(model.given_inputs)
    return open_source(source, size_wh=model.size_wh, inputs=model.given_inputs)
