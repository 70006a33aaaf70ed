"""What an export brought about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeinfer.results import finite
from edgeinfer.spec import ModelSpec


@dataclass(frozen=True)
class Exported:
    """A model file that was written, and the evidence that it is still the same model.

    Attributes:
        output: the file.
        sha256: its hash.
        precision: ``fp32``, ``fp16``, ``int8`` or ``int8-dynamic``.
        target: the kind of box it is for, None for any.
        spec: as stamped into the file.
        parity: how far its outputs are from the source's, see `steps.verify`.
        metric: ``before`` and ``after``: the task metric on the validation data, else empty.
        kept_float: nodes that were left in float.
        float_reasons: the same by layer: ``head``, ``recurrent``, ``overflow`` or ``accuracy``,
            with what was measured of it.
        gate: what the accuracy gate measured: metric, loss, what is allowed, attempts; else empty.
        speed: frame latency of source and output on this box, measured in turns; else empty.
        variants: this file and the source that it is linked to by hash, with the median frame
            latency of each on this box (None where it was not measured).
        notes: what was guessed, left out or cannot be said.
        golden: the file of golden vectors beside it, None where there are none.
        graph: ``nodes``, ``opset`` and ``weight_bytes``, each ``before`` and ``after``.
        provenance: as stamped into the file.
    """

    output: Path
    sha256: str
    precision: str
    target: str | None
    spec: ModelSpec
    parity: Mapping[str, Any]
    metric: Mapping[str, Mapping[str, float]]
    kept_float: tuple[str, ...] = ()
    variants: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=())
    golden: Path | None = None
    graph: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    float_reasons: tuple[Mapping[str, Any], ...] = ()
    gate: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `export`; a number that does not exist is null."""
        document = {
            "output": str(self.output),
            "sha256": self.sha256,
            "precision": self.precision,
            "target": self.target,
            "parity": dict(self.parity),
            "metric": {key: dict(value) for key, value in self.metric.items()},
            "kept_float": list(self.kept_float),
            "float_reasons": [dict(reason) for reason in self.float_reasons],
            "gate": dict(self.gate),
            "speed": dict(self.speed),
            "variants": [dict(variant) for variant in self.variants],
            "notes": list(self.notes),
            "golden": None if self.golden is None else str(self.golden),
            "graph": {key: dict(value) for key, value in self.graph.items()},
            "provenance": dict(self.provenance),
        }
        clean: dict[str, Any] = finite(document)[0]
        return clean
