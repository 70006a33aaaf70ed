"""What the parts of the gate hand to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import onnx


class Narrower(Protocol):
    """Writes a graph in fewer bits; those of `edgeinfer_export.quantize` are some."""

    @property
    def model(self) -> onnx.ModelProto:
        """The float graph that it starts from."""

    @property
    def head(self) -> tuple[str, ...]:
        """Nodes that stay in float whatever else does."""

    @property
    def precision(self) -> str: ...

    def build(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The graph, with these nodes in float besides the head."""


@dataclass(frozen=True)
class Verdict:
    """How good a model is.

    Attributes:
        value: the figure that counts, higher is better where `higher` says so.
        figures: all that were measured, by name.
        blind: why it sees nothing, or None.
        apart: what else is wrong with it, boxes and scores each by themselves.
        notes: what a reader of the figures must know.
    """

    value: float
    figures: Mapping[str, float] = field(default_factory=dict)
    blind: str | None = None
    apart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Judge(Protocol):
    """Measures how good a graph is, always on the same data and the same runtime."""

    @property
    def metric(self) -> str:
        """What is measured, and on what: ``map50_95 on data.yaml (val)``."""

    @property
    def before(self) -> Verdict:
        """Of the source."""

    def judge(self, model: onnx.ModelProto) -> Verdict: ...

    def loss(self, verdict: Verdict) -> float:
        """What was lost, as a share of what the source has; NaN where that is unknown."""


@dataclass(frozen=True)
class KeptFloat:
    """A part of the graph that stayed in float, and why.

    Attributes:
        layer: name of its layer.
        nodes: names of all its nodes.
        why: ``head``, ``recurrent``, ``overflow`` or ``accuracy``.
        sqnr_db: signal over quantization noise at its output, in the INT8 file; None if unknown.
        gained: how much of the output's error went when it alone was kept in float.
    """

    layer: str
    nodes: tuple[str, ...]
    why: str
    sqnr_db: float | None = None
    gained: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "nodes": list(self.nodes),
            "why": self.why,
            "sqnr_db": self.sqnr_db,
            "gained": self.gained,
        }


@dataclass(frozen=True)
class Attempt:
    """One graph that was measured.

    Attributes:
        kept: how many groups stayed in float besides the head.
        macs: share of the multiplications that run in few bits.
        value: of the metric.
        loss: see `Judge.loss`.
        good: whether it keeps the budget.
    """

    kept: int
    macs: float
    value: float
    loss: float
    good: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "kept_groups": self.kept,
            "narrow_macs": self.macs,
            "value": self.value,
            "loss": self.loss,
            "good": self.good,
        }
