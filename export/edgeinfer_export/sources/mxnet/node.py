"""One operator of a symbol, as its handler gets it."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.mxnet.attributes import Attributes


@dataclass(frozen=True, eq=False)
class Node:
    """An operator.

    Attributes:
        name: of the node.
        op: its operator.
        inputs: the tensors that it reads.
        attributes: its settings.
    """

    name: str
    op: str
    inputs: list[str]
    attributes: Attributes

    def parameter(self, graph: Graph, number: int, what: str) -> Array:
        """An input that has to be a parameter of the network."""
        if number >= len(self.inputs):
            graph.fail(f"it has {len(self.inputs)} inputs, and no {what}.")
        return graph.constant(self.inputs[number], what)
