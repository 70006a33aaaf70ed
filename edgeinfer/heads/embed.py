"""A vector for the whole frame: `[1, D]` or `[1, D, 1, 1]`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.results import Embedding
from edgeinfer.spec import ModelSpec


class Embed:
    """The vector, as it is or brought to length 1.

    Options: ``normalize`` (true: divided by its length, so that a product is a cosine; false by
    default), ``output`` (the name of the output, where there are several).
    """

    name = "embed"
    task = "embed"

    def why_not(self, graph: Graph) -> str | None:
        wanted = graph.options.get("output")
        names = [item.name for item in graph.outputs]
        if wanted is None and len(names) != 1:
            listed = ", ".join(names)
            return (
                f'it has one output, this graph has {listed}: give head_options {{"output": ...}}'
            )
        if wanted is not None and wanted not in names:
            return f"its option output is {wanted!r}, the graph's are {', '.join(names)}"
        shape = graph.outputs[names.index(wanted) if wanted else 0].shape
        if len(shape) < 2 or any(size != 1 for size in shape[2:]):
            return f"its output is [1, D], this one is {list(shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return None

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Embedding]:
        """`[B, D, 1...]` to vectors."""
        output = outputs[spec.head_options.get("output") or next(iter(outputs))]
        found = []
        for row in output.reshape(len(views), -1):
            vector = row.astype(np.float32)
            length = float(np.sqrt(vector @ vector))
            if spec.head_options.get("normalize") and length > 0:
                vector /= np.float32(length)
            flags = () if np.isfinite(length) else ("nonfinite",)
            found.append(Embedding(vector, flags))
        return found
