"""Where results go."""

from __future__ import annotations

from edgeinfer.sinks.base import ReaderGone, Sink
from edgeinfer.sinks.class_maps import ClassMaps, mask_beside
from edgeinfer.sinks.jsonl import JsonLines
from edgeinfer.sinks.table import open_sink

__all__ = ["ClassMaps", "JsonLines", "ReaderGone", "Sink", "mask_beside", "open_sink"]
