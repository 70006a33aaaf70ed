"""Who wins the finals: the default, unless somebody is surely better.

A plan that was tuned in a busy moment must never be worse than none, so the burden of proof is on
whoever is not the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeinfer.measure import Ratio, quantile_ratio, ratio
from edgeinfer.tune.race import Standing, choose, costs

# Of fewer rounds than the first nothing is sure that is not better by the second: five pairs that
# all point one way by chance are one case in 32.
_DOUBT = ((3, 2.0), (5, 1.25))
# The same work in the same minute: blocks that spread more than this were disturbed.
_BUSY = 1.5
_LEAST_BLOCKS = 3


def settle(
    standings: Mapping[str, Standing], simplicity: Mapping[str, float], q: float, default: str
) -> tuple[str, Mapping[str, str]]:
    """The winner, and why those who would have won otherwise did not: by name.

    Args:
        standings, simplicity, q: of `choose`.
        default: who wins unless another is surely better, where it is among them.
    """
    left = dict(standings)
    doubted: dict[str, str] = {}
    while True:
        name = choose(left, simplicity, q)
        if name == default or default not in left:
            return name, doubted
        compared = against(left[default], left[name], q)
        if any(sure(item) for item in compared):
            return name, doubted
        cost = compared[0]
        doubted[name] = (
            f"not surely better than the default: {cost.ratio:.2f} times its cost "
            f"({cost.low:.2f} to {cost.high:.2f}, {cost.rounds} rounds)"
        )
        del left[name]


def against(default: Standing, other: Standing, q: float) -> list[Ratio]:
    """How the other's cost, and its tail where that is judged (q > 0.5), compare with the
    default's in the rounds that both were in."""
    found = [ratio(costs(default), costs(other))]
    if q > 0.5:
        blocks = [[block.samples_ns for block in item.blocks] for item in (default, other)]
        found.append(quantile_ratio(blocks[0], blocks[1], q))
    return found


def sure(compared: Ratio) -> bool:
    """Whether the interval leaves no doubt that it is better."""
    margin = next((share for rounds, share in _DOUBT if compared.rounds < rounds), 1.0)
    return compared.high * margin < 1.0


def busy(standing: Standing) -> bool:
    """Whether one's own blocks spread so widely that something else was running."""
    found: Sequence[int] = costs(standing)
    if len(found) < _LEAST_BLOCKS:
        return False
    return float(np.quantile(found, 0.9)) > _BUSY * standing.cost_ns
