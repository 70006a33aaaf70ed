"""scikit-learn's handwritten digits, split so that no validation digit was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HELD_OUT_FRACTION = 0.3
SPLIT_SEED = 1797


@dataclass(frozen=True, eq=False)
class DigitPool:
    """Some of the digits.

    Attributes:
        images: (N, 8, 8) float32, ink in [0, 1].
        labels: (N,) int64, the digit.
        indices: (N,) int64, the row in `sklearn.datasets.load_digits`.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def draw(self, rng: np.random.Generator, label: int | None = None) -> int:
        """Position in the pool of a random digit; every class is equally likely."""
        wanted = int(rng.integers(10)) if label is None else label
        return int(rng.choice(np.flatnonzero(self.labels == wanted)))


def load_pools() -> tuple[DigitPool, DigitPool]:
    """The training digits and the held-out ones, the same share of every class."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    rng = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held_out[rows[: round(len(rows) * HELD_OUT_FRACTION)]] = True

    def pool(mask: NDArray[np.bool_]) -> DigitPool:
        return DigitPool(images[mask], labels[mask], np.flatnonzero(mask))

    return pool(~held_out), pool(held_out)
