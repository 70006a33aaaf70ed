"""Measure the choices of this box and store the best with its evidence."""

from __future__ import annotations

from edgeinfer.plan import OBJECTIVES
from edgeinfer.tune.options import TuneOptions
from edgeinfer.tune.tuned import Tuned, tune

__all__ = ["OBJECTIVES", "TuneOptions", "Tuned", "tune"]
