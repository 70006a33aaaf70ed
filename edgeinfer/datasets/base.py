"""What a labelled dataset gives: pictures or arrays, and what is truly on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import SourceError
from edgeinfer.frames import Array, Arrays
from edgeinfer.records import dataclass
from edgeinfer.results import Mask


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
class MaskTruth:
    """The objects on a picture and the pixels that they cover.

    Attributes:
        masks: one per object.
        class_ids: `(N,)` int64, positions in the dataset's labels.
    """

    masks: tuple[Mask, ...]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PoseTruth:
    """The objects on a picture and their keypoints.

    Attributes:
        boxes_xyxy: `(N, 4)` float64 in pixels of the picture.
        class_ids: `(N,)` int64.
        keypoints_xyv: `(N, K, 3)` float64: x, y in pixels, and 0 where a point is not labelled.
    """

    boxes_xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    keypoints_xyv: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OrientedTruth:
    """The turned boxes on a picture.

    Attributes:
        polygons_xy: `(N, 4, 2)` float64 corners in order, in pixels of the picture.
        class_ids: `(N,)` int64.
    """

    polygons_xy: NDArray[np.float64]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MapTruth:
    """The class of every pixel: `(H, W)` integers; `IGNORED` where nobody said."""

    class_ids: NDArray[np.integer]


# Value of unlabelled pixels in Pascal VOC, Cityscapes and ADE20K (less one).
IGNORED = 255


@dataclass(frozen=True)
class TextTruth:
    """What a line of text says."""

    text: str


@dataclass(frozen=True)
class AnomalyTruth:
    """Whether a sample is out of the ordinary."""

    is_anomaly: bool


@dataclass(frozen=True, eq=False)
class ValueTruth:
    """Numbers that a model is to estimate: `(V,)` float64."""

    values: NDArray[np.float64]


Truth = (
    BoxTruth
    | ClassTruth
    | MaskTruth
    | PoseTruth
    | OrientedTruth
    | MapTruth
    | TextTruth
    | AnomalyTruth
    | ValueTruth
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled picture, or one labelled set of arrays.

    Attributes:
        name: the file's path inside the dataset.
        picture: `(H, W, 3)` or `(H, W)` uint8 BGR; or a mapping of input name to array, where the
            empty name stands for the model's only input and an array may lack its batch.
        truth: what is on it.
    """

    name: str
    picture: Array | Arrays
    truth: Truth


class Dataset(Protocol):
    """Labelled pictures that can be walked through more than once."""

    @property
    def name(self) -> str:
        """What it is called, with the split that is used: ``coco8.yaml (val)``."""

    @property
    def task(self) -> str:
        """The task of models that it judges: ``detect``, ``classify``, ..."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One per class; empty where the dataset holds only numbers."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...
