"""load(): from a file to something that turns frames into typed results.

Each part is imported on first use (PEP 562): a new file is vetted before the rest is there.
"""

from __future__ import annotations

from edgeinfer.lazy import exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgeinfer.model.lane import Lane
    from edgeinfer.model.loading import load
    from edgeinfer.model.model import Model, open_model
    from edgeinfer.model.options import MAX_LANES, LoadOptions
    from edgeinfer.model.session import Session, open_session, threads_of
    from edgeinfer.model.target import why_unfit

__all__ = [
    "MAX_LANES",
    "Lane",
    "LoadOptions",
    "Model",
    "Session",
    "load",
    "open_model",
    "open_session",
    "threads_of",
    "why_unfit",
]

_HOMES = {
    "MAX_LANES": "edgeinfer.model.options",
    "Lane": "edgeinfer.model.lane",
    "LoadOptions": "edgeinfer.model.options",
    "Model": "edgeinfer.model.model",
    "Session": "edgeinfer.model.session",
    "load": "edgeinfer.model.loading",
    "open_model": "edgeinfer.model.model",
    "open_session": "edgeinfer.model.session",
    "threads_of": "edgeinfer.model.session",
    "why_unfit": "edgeinfer.model.target",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
