"""Preprocessing: pictures become a model's input, on the host or in the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.preprocess.host import HostPreprocess, preprocess

if TYPE_CHECKING:
    from edgeinfer.preprocess.graph import Embedded, embed

__all__ = ["Embedded", "HostPreprocess", "embed", "preprocess"]


def __getattr__(name: str) -> object:
    # Rewriting graphs is rare; a model that is opened as it is does not pay for importing it.
    if name in ("Embedded", "embed"):
        from edgeinfer.preprocess import graph

        return getattr(graph, name)
    raise AttributeError(f"module 'edgeinfer.preprocess' has no attribute '{name}'")
