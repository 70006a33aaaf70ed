"""What a labelled dataset gives: pictures and what is truly on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import SourceError
from edgeinfer.frames import Array


class DatasetError(SourceError):
    """Labelled data that cannot be read or contradict themselves."""


@dataclass(frozen=True, eq=False)
class BoxTruth:
    """The objects on a picture.

    Attributes:
        boxes_xyxy: `(N, 4)` float64 in pixels of the picture.
        class_ids: `(N,)` int64, positions in the dataset's labels.
    """

    boxes_xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class ClassTruth:
    """The class of a picture: its position in the dataset's labels."""

    class_id: int


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled picture.

    Attributes:
        name: the file's path inside the dataset.
        picture: `(H, W, 3)` uint8 BGR.
        truth: what is on it.
    """

    name: str
    picture: Array
    truth: BoxTruth | ClassTruth


class Dataset(Protocol):
    """Labelled pictures that can be walked through more than once."""

    @property
    def name(self) -> str:
        """What it is called, with the split that is used: ``coco8.yaml (val)``."""

    @property
    def task(self) -> str:
        """``detect`` or ``classify``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One per class; empty where the dataset holds only numbers."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...
