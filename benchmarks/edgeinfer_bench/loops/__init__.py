"""How frames reach a model inside one process: one file per kind of order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeinfer_bench.loops.back_to_back import back_to_back
from edgeinfer_bench.loops.bench import Bench
from edgeinfer_bench.loops.offline import offline
from edgeinfer_bench.loops.open_loop import open_loop
from edgeinfer_bench.order import Order, Turn

LOOPS: Mapping[str, Callable[[Bench, Order], Turn]] = MappingProxyType(
    {"back-to-back": back_to_back, "open-loop": open_loop, "offline": offline}
)

__all__ = ["LOOPS", "Bench"]
