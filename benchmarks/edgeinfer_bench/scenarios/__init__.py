"""How frames arrive: one file per scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.scenarios.base import Part, Progress, Scenario
from edgeinfer_bench.scenarios.offline import Offline
from edgeinfer_bench.scenarios.paced import Paced
from edgeinfer_bench.scenarios.server import Server
from edgeinfer_bench.scenarios.single import Single

# A new one for every run: some remember between replicates what they found.
SCENARIOS: Mapping[str, Callable[[BenchOptions], Scenario]] = MappingProxyType(
    {"single": Single, "paced": Paced, "offline": Offline, "server": Server}
)

__all__ = ["SCENARIOS", "Part", "Progress", "Scenario"]
