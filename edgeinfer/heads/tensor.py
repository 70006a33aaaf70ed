"""No meaning known: the outputs as they are."""

from __future__ import annotations

from collections import abc

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.results import Tensors
from edgeinfer.spec import ModelSpec


class Tensor:
    """Every output, copied."""

    name = "tensor"
    task = "tensor"

    def why_not(self, graph: Graph) -> str | None:
        return None

    def classes(self, graph: Graph) -> int | None:
        return None

    def decode(
        self, outputs: Arrays, views: abc.Sequence[View], spec: ModelSpec
    ) -> abc.Sequence[Tensors]:
        """Outputs of a batch of one."""
        return [Tensors({name: array.copy() for name, array in outputs.items()})]


class Sequence(Tensor):
    """Outputs of a model that carries state from call to call, without that state."""

    name = "sequence"
    task = "sequence"

    def decode(
        self, outputs: Arrays, views: abc.Sequence[View], spec: ModelSpec
    ) -> abc.Sequence[Tensors]:
        """Outputs of one step."""
        kept = {name: array.copy() for name, array in outputs.items() if name not in spec.state}
        return [Tensors(kept)]
