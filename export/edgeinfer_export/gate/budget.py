"""Whether a loss can be seen at all."""

from __future__ import annotations

import math

from edgeinfer.errors import CheckFailed
from edgeinfer.evaluate import Evaluation, loss


def check_metric(before: Evaluation) -> None:
    """Refuse data on which the source itself is good for nothing: no loss can be seen there.

    Raises:
        CheckFailed: with the figure.
    """
    name = before.headline
    value = before.metrics[name]
    if math.isnan(value):
        raise CheckFailed(
            f"{name} does not exist on {before.dataset} ({before.n} samples): the drop cannot be "
            f"checked. Give validation data that hold objects of the model's classes."
        )
    if math.isnan(loss(value, value, name)):
        raise CheckFailed(
            f"The source itself reaches {name} {value:.4f} on {before.dataset} ({before.n} "
            f"samples): it sees nothing there, and nobody can tell what a smaller file would lose. "
            f"Check labels, preprocessing and classes with `edgeinfer validate`."
        )
