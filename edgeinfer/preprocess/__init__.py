"""Preprocessing: pictures become a model's input, on the host or in the graph."""

from edgeinfer.preprocess.graph import Embedded, embed
from edgeinfer.preprocess.host import HostPreprocess, preprocess

__all__ = ["Embedded", "HostPreprocess", "embed", "preprocess"]
