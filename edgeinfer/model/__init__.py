"""load(): from a file to something that turns frames into typed results."""

from __future__ import annotations

from edgeinfer.model.lane import Gate, Lane
from edgeinfer.model.model import Model, load, open_model
from edgeinfer.model.options import LoadOptions
from edgeinfer.model.session import Session, open_session

__all__ = ["Gate", "Lane", "LoadOptions", "Model", "Session", "load", "open_model", "open_session"]
