"""How unusual a frame is: a score, a map of scores, or a reconstruction to compare with it.

The threshold ``anomaly`` of the spec (else ``score``) says from which score on a frame is an
anomaly; without one, `is_anomaly` is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.results import Anomaly
from edgeinfer.spec import ModelSpec


def _one(graph: Graph) -> tuple[int | str, ...] | str:
    if len(graph.outputs) != 1:
        return f"it has one output, this graph has {len(graph.outputs)}"
    return graph.outputs[0].shape


def _finished(score: float, spec: ModelSpec, score_map: Array | None = None) -> Anomaly:
    limit = spec.thresholds.get("anomaly", spec.thresholds.get("score"))
    flags = () if np.isfinite(score) else ("nonfinite",)
    return Anomaly(score, None if limit is None else float(limit), score_map, flags)


class _Anomaly:
    task = "anomaly"

    def classes(self, graph: Graph) -> int | None:
        return None


class AnomalyScore(_Anomaly):
    """One number for the whole frame."""

    name = "anomaly-score"

    def why_not(self, graph: Graph) -> str | None:
        shape = _one(graph)
        if isinstance(shape, str):
            return shape
        if any(size != 1 for size in shape if isinstance(size, int)):
            return f"its output is one number, this one is {list(shape)}"
        return None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Anomaly]:
        """`[B]` or `[B, 1, ...]` to scores."""
        (output,) = outputs.values()
        rows = output.reshape(len(views), -1)
        return [_finished(float(row.max()), spec) for row in rows]


class AnomalyMap(_Anomaly):
    """A score for each place of the input; the largest is the frame's."""

    name = "anomaly-map"

    def why_not(self, graph: Graph) -> str | None:
        shape = _one(graph)
        if isinstance(shape, str):
            return shape
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] != 1):
            return f"its output is [1, 1, H, W] or [1, H, W], this one is {list(shape)}"
        return None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Anomaly]:
        """`[B, 1, H, W]` or `[B, H, W]` to scores."""
        (output,) = outputs.values()
        found = []
        for raw, _ in zip(output, views, strict=True):
            score_map = raw.reshape(raw.shape[-2:]).astype(np.float32)
            found.append(_finished(float(score_map.max()), spec, score_map))
        return found


class Reconstruction(_Anomaly):
    """An autoencoder's output; the mean squared difference from its input is the score.

    Source: the usual score of autoencoders, as in the anomaly detection of MLPerf Tiny
    (https://github.com/mlcommons/tiny). Of several rows fed at once (the windows of a clip) it is
    the mean.
    """

    name = "reconstruction"

    def why_not(self, graph: Graph) -> str | None:
        shape = _one(graph)
        if isinstance(shape, str):
            return shape
        for item in graph.inputs[:1]:
            pairs = zip(item.shape, shape, strict=False)
            unlike = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
            if len(item.shape) != len(shape) or unlike:
                return f"its output is like the input {list(item.shape)}, this one is {list(shape)}"
        return None

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Anomaly]:
        """The output in the input's shape to one score; rows of arrays are one frame.

        Raises:
            SpecError: if the output has another shape than the input.
        """
        (output,) = outputs.values()
        fed = next(iter(views[0].fed.values()), None)
        if fed is None or fed.shape != output.shape or fed.dtype != output.dtype:
            given = "nothing" if fed is None else f"{list(fed.shape)} {fed.dtype}"
            raise SpecError(
                f"The head 'reconstruction' compares the output {list(output.shape)} "
                f"{output.dtype} with what was fed, {given}: they must be alike (with --preprocess "
                f"graph the graph is fed raw pixels: use host)."
            )
        apart = output.astype(np.float64).ravel() - fed.astype(np.float64).ravel()
        return [_finished(float(apart @ apart / max(1, apart.size)), spec)]
