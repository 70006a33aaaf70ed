"""Where frames come from."""

from __future__ import annotations

from edgeinfer.sniff import SOURCES_HELP
from edgeinfer.sources.base import Source, SourceInfo
from edgeinfer.sources.chain import open_sources
from edgeinfer.sources.random_arrays import RandomArrays
from edgeinfer.sources.table import is_live, is_one_picture, open_source

__all__ = [
    "SOURCES_HELP",
    "RandomArrays",
    "Source",
    "SourceInfo",
    "is_live",
    "is_one_picture",
    "open_source",
    "open_sources",
]
