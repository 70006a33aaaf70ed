"""Plots as small inline SVG: text stays text, colours follow the page, size does not grow with the
number of frames."""

from __future__ import annotations

from edgeinfer_bench.charts.distribution import histogram, tail
from edgeinfer_bench.charts.scale import Scale
from edgeinfer_bench.charts.search import rate_search
from edgeinfer_bench.charts.stack import stage_stack
from edgeinfer_bench.charts.timeline import timeline

__all__ = ["Scale", "histogram", "rate_search", "stage_stack", "tail", "timeline"]
