"""Data for anomaly detection: a folder of normal samples, folders of others (as MVTec AD)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.datasets.base import AnomalyTruth, DatasetError, Sample
from edgeinfer.datasets.class_folders import open_class_folders
from edgeinfer.datasets.pictures import read_picture
from edgeinfer.records import dataclass

NORMAL = ("good", "normal", "ok")


@dataclass(frozen=True)
class NormalFolders:
    """Pictures that are normal or not.

    Attributes:
        name: the folder, and the split where it has several.
        pictures: files, and whether each is an anomaly.
        root: what the names of samples are relative to.
        labels: always empty.
    """

    name: str
    pictures: tuple[tuple[Path, bool], ...]
    root: Path
    labels: tuple[str, ...] = ()
    task: str = "anomaly"

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Sample]:
        for path, odd in self.pictures:
            name = str(path.relative_to(self.root))
            yield Sample(name, read_picture(path), AnomalyTruth(odd))


def open_normal_folders(folder: Path) -> NormalFolders:
    """Open a folder with `good` (or `normal`, `ok`) and others, or the split `test` of one.

    Raises:
        DatasetError: if there is no folder of normal pictures.
    """
    test = folder / "test"
    found = open_class_folders(test if test.is_dir() else folder)
    normal = {number for number, name in enumerate(found.labels) if name.lower() in NORMAL}
    if not normal or len(normal) == len(found.labels):
        raise DatasetError(
            f"{folder} does not say which pictures are normal: it holds {', '.join(found.labels)}; "
            f"put normal ones into a folder '{NORMAL[0]}', others beside it."
        )
    pictures = tuple((path, number not in normal) for path, number in found.pictures)
    return NormalFolders(found.name, pictures, found.root)
