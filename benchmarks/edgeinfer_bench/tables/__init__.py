"""What a report says in tables; each writer only decides how a table looks."""

from __future__ import annotations

from edgeinfer_bench.tables.box import environment, evidence, placement, ran, sources
from edgeinfer_bench.tables.headline import FOOTNOTE, headline, headlines
from edgeinfer_bench.tables.operators import operator_types, top_operators
from edgeinfer_bench.tables.run import (
    energy,
    idle_gap,
    peers,
    processes,
    stage_means,
    stages,
    trials,
)
from edgeinfer_bench.tables.table import Table, decimals, ms, rate, render
from edgeinfer_bench.tables.terminal import summary_table

__all__ = [
    "FOOTNOTE",
    "Table",
    "decimals",
    "energy",
    "environment",
    "evidence",
    "headline",
    "headlines",
    "idle_gap",
    "ms",
    "operator_types",
    "peers",
    "placement",
    "processes",
    "ran",
    "rate",
    "render",
    "sources",
    "stage_means",
    "stages",
    "summary_table",
    "top_operators",
    "trials",
]
