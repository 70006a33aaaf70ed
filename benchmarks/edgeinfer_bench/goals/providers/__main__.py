"""`python -m edgeinfer_bench.goals.providers`: every goal of choosing, exit 4 if one is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeinfer_bench.goals.__main__ import main
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.goals.providers.opening import opening
from edgeinfer_bench.goals.providers.plain import beside_plain
from edgeinfer_bench.goals.providers.tuned import tuned_plans

PARTS: Mapping[str, Callable[[Context], list[Goal]]] = MappingProxyType(
    {"tuned": tuned_plans, "plain": beside_plain, "opening": opening}
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], PARTS, "edgeinfer_bench.goals.providers"))
