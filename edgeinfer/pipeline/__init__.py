"""The way of a frame: feed (reads, drops, counts), lanes (the model), outbox (order), sinks."""

from __future__ import annotations

from edgeinfer.pipeline.feed import POLICIES
from edgeinfer.pipeline.outbox import Outcome
from edgeinfer.pipeline.runner import Run, RunOptions

__all__ = ["POLICIES", "Outcome", "Run", "RunOptions"]
