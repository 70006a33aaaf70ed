"""Measure the choices of this box and store the best with its evidence.

Today one choice is measured: where preprocessing is computed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Array
from edgeinfer.measure import Ratio, interleave, ratio
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.plan import store_plan
from edgeinfer.timing import format_ns

_ROUNDS = 40
_WARMUP = 5
# Both ways compute the same values in another order: what differs more is a fault, not rounding.
_PARITY = {"fp16": 1e-3}
_DEFAULT_PARITY = 1e-5


@dataclass(frozen=True)
class PreprocessChoice:
    """Where preprocessing is computed from now on, and why."""

    preprocess: str
    reason: str

    def text(self) -> str:
        """The choice for people."""
        return f"edgeinfer: preprocessing on the {self.preprocess}: {self.reason}."


def choose_preprocess(path: Path, options: LoadOptions) -> PreprocessChoice:
    """Measure preprocessing on the host against preprocessing in the graph, and store the winner.

    The graph wins only where the interval of the ratio lies below 1 and the outputs agree within
    1e-5 of their range (1e-3 for FP16).

    Raises:
        EdgeInferError: if the model cannot be opened.
    """
    with open_model(path, dataclasses.replace(options, preprocess="host")) as host:
        try:
            graph = open_model(path, dataclasses.replace(options, preprocess="graph"))
        except EdgeInferError as error:
            choice = PreprocessChoice("host", f"the graph cannot take it ({error})")
            return _store(host, choice, {"refused": str(error)})
        with graph:
            picture = _picture(host)
            difference = _difference(host, graph, picture)
            limit = _PARITY.get(host.served.compute_precision, _DEFAULT_PARITY)
            samples = interleave(
                {
                    "host": lambda: _discard(host, picture),
                    "graph": lambda: _discard(graph, picture),
                },
                rounds=_ROUNDS,
                warmup=_WARMUP,
            )
        compared = ratio(samples["host"], samples["graph"])
        choice = _decide(compared, difference, limit, samples)
        evidence = {"samples_ns": samples, "ratio": compared.to_dict(), "difference": difference}
        return _store(host, choice, evidence)


def _decide(compared: Ratio, difference: float, limit: float, samples: Any) -> PreprocessChoice:
    medians = {name: format_ns(float(np.median(values))) for name, values in samples.items()}
    times = f"{medians['graph']} a frame in the graph, {medians['host']} on the host"
    if not difference <= limit:
        return PreprocessChoice(
            "host", f"in the graph the outputs differ by {difference:.1e} of their range"
        )
    if compared.high < 1:
        return PreprocessChoice("graph", times)
    return PreprocessChoice("host", times)


def _store(model: Model, choice: PreprocessChoice, evidence: Any) -> PreprocessChoice:
    store_plan(model.plan_key, choice.preprocess, evidence)
    return choice


def _discard(model: Model, picture: Array) -> None:
    model(picture)


def _picture(model: Model) -> Array:
    """A picture with structure and noise, larger than the input so that resizing is part of it."""
    width, height = model.size_wh or (640, 480)
    random = np.random.default_rng(0)
    rows = np.linspace(0, 200, 2 * height)[:, None, None]
    noise = random.integers(0, 56, (2 * height, 2 * width, 3))
    return np.asarray(rows + noise).astype(np.uint8)


def _difference(host: Model, graph: Model, picture: Array) -> float:
    """Largest difference of any output, over that output's range."""
    worst = 0.0
    reference, other = host.raw(picture), graph.raw(picture)
    for name, values in reference.items():
        if values.dtype.kind != "f":
            continue
        a, b = values.astype(np.float64), other[name].astype(np.float64)
        spread = float(a.max() - a.min()) or 1.0
        worst = max(worst, float(np.abs(a - b).max()) / spread)
    return worst
