"""`python -m edgeinfer_bench.goals.export`: every goal of INT8, exit 4 if one is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeinfer_bench.goals.__main__ import main
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.export.accuracy import accuracy
from edgeinfer_bench.goals.export.beside_nncf import beside_nncf
from edgeinfer_bench.goals.export.speed import speed
from edgeinfer_bench.goals.goal import Goal

PARTS: Mapping[str, Callable[[Context], list[Goal]]] = MappingProxyType(
    {"speed": speed, "accuracy": accuracy, "nncf": beside_nncf}
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], PARTS, "edgeinfer_bench.goals.export"))
