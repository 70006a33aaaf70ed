"""load(): from a file to something that turns frames into typed results."""

from __future__ import annotations

from edgeinfer.model.lane import Lane
from edgeinfer.model.model import Model, load, open_model
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
