"""load(): the vetting of a new file is under way while everything else is imported."""

from __future__ import annotations

import contextlib
import gc
import os

from edgeinfer import cache, environment
from edgeinfer.providers.headstart import HeadStart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from edgeinfer.model.model import Model
    from edgeinfer.model.options import LoadOptions


# Whether this process has opened a model, and so imported what that takes.
_imported = False


def load(
    path: str | Path,
    provider: str = "auto",
    *,
    options: LoadOptions | None = None,
    threads: int | None = None,
    spinning: bool | None = None,
    variants: Sequence[str | Path] = (),
    use_plan: bool = True,
    task: str | None = None,
    head: str | None = None,
    spec: str | Path | None = None,
    labels: str | Path | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    cache_dir: str | Path | None = None,
) -> Model:
    """Open a model and say what really runs it.

    Args:
        path: an ONNX file.
        provider: ``auto`` or a provider's name; a named one runs, or opening fails.
        options: everything that can be said; the arguments below override it.
        threads: for inference; None for what the box really grants.
        spinning: whether idle threads wait busily.
        variants: files of the same model in other precisions, which a stored plan may choose.
        use_plan: whether a stored plan that still fits is used (`Model.notes` says so).
        task, head, spec, labels: override what the model says of itself.
        score_threshold, iou_threshold: which detections are reported.
        cache_dir: where this process keeps what can be made again, from now on; made where it is
            missing. None: where it did before, which is the user's cache folder at first.

    Raises:
        ModelFileError: if the file is missing, damaged, hostile or no model.
        SpecError: if what it means is unknown, ambiguous or contradictory.
        ProviderError: if the named provider does not run it.
        UsageError: for unknown names, or a `cache_dir` that is no folder.

    Example:
        with edgeinfer.load("model.onnx") as model:
            result = model(picture)
    """
    if cache_dir is not None:
        _keep_in(cache_dir)
    with _uncollected(), HeadStart(path) as started:
        environment.import_numpy()
        from dataclasses import replace
        from pathlib import Path

        from edgeinfer.model.model import open_model
        from edgeinfer.model.options import LoadOptions

        said = {
            "threads": threads,
            "spinning": spinning,
            "variants": tuple(Path(item) for item in variants) or None,
            "use_plan": None if use_plan else False,
            "task": task,
            "head": head,
            "spec": None if spec is None else Path(spec),
            "labels": None if labels is None else Path(labels),
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "provider": None if provider == "auto" else provider,
        }
        given: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        return open_model(Path(path), replace(options or LoadOptions(), **given), started)


def _keep_in(folder: str | Path) -> None:
    if not os.fspath(folder) or (os.path.exists(folder) and not os.path.isdir(folder)):
        from edgeinfer.errors import UsageError

        raise UsageError(f"cache_dir is {str(folder)!r}, which is no folder: name one, or none.")
    cache.set_root(folder)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection inside: imports leave none, and looking for it took 15 of 60 ms.

    Nor right after the first time: what was imported then counts as old, as `gc.unfreeze` leaves
    it. Later ones import nothing, and what the caller makes between them must not grow old so.
    """
    global _imported
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not _imported and not gc.get_freeze_count():  # what the caller froze stays so
                gc.freeze()
                gc.unfreeze()
            _imported = True
            gc.enable()
