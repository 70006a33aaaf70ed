"""The number of the best class, worked out in the graph: `[1]` or `[1, 1]` integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.results import Classes
from edgeinfer.spec import ModelSpec


class ClassIds:
    """One class number per frame; its score is 1, since the graph keeps its own to itself."""

    name = "class-ids"
    task = "classify"

    def why_not(self, graph: Graph) -> str | None:
        if len(graph.outputs) != 1:
            return f"it has one output, this graph has {len(graph.outputs)}"
        output = graph.outputs[0]
        if "int" not in output.dtype:
            return f"its output holds whole numbers, this one {output.dtype}"
        if any(size != 1 for size in output.shape[1:]):
            return f"its output is one number for each frame, this one is {list(output.shape)}"
        return None

    def classes(self, graph: Graph) -> int | None:
        return None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Classes]:
        """`[B]` or `[B, 1]` class numbers; a negative one means that there is no answer."""
        (output,) = outputs.values()
        found = []
        for row in output.reshape(len(views), -1):
            ids = row[row >= 0].astype(np.int64)
            if spec.keep_classes:
                ids = ids[np.isin(ids, spec.keep_classes)]
            found.append(Classes(ids, np.ones(len(ids), np.float32), spec.labels))
        return found
