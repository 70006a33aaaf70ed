"""One model at several input sizes and precisions: accuracy against latency."""

from __future__ import annotations

from edgeinfer_export.sweep.points import Point, Swept, files_of, frontier, parse_sizes
from edgeinfer_export.sweep.work import export_at, sweep

__all__ = ["Point", "Swept", "export_at", "files_of", "frontier", "parse_sizes", "sweep"]
