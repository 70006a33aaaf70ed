"""Where results go."""

from __future__ import annotations

from edgeinfer.sinks.base import ReaderGone, Sink
from edgeinfer.sinks.jsonl import JsonLines
from edgeinfer.sinks.table import open_sink

__all__ = ["JsonLines", "ReaderGone", "Sink", "open_sink"]
