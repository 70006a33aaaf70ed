"""`python -m edgeinfer_bench.goals.bench`: every goal of the benchmark, exit 4 if one is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeinfer_bench.goals.__main__ import main
from edgeinfer_bench.goals.bench.beside_peers import beside_peers
from edgeinfer_bench.goals.bench.harness_cost import harness_cost
from edgeinfer_bench.goals.bench.page import page
from edgeinfer_bench.goals.bench.trust import trust
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal

PARTS: Mapping[str, Callable[[Context], list[Goal]]] = MappingProxyType(
    {"cost": harness_cost, "page": page, "peers": beside_peers, "trust": trust}
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], PARTS, "edgeinfer_bench.goals.bench"))
