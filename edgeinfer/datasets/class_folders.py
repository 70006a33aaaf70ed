"""Classification data: a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.datasets.base import ClassTruth, DatasetError, Sample
from edgeinfer.datasets.pictures import pictures_in, read_picture
from edgeinfer.records import dataclass

_SPLITS = ("val", "valid", "validation", "test", "train")


@dataclass(frozen=True)
class ClassFolders:
    """Pictures whose class is the name of their folder; classes sorted by name.

    Attributes:
        name: the folder, and the split where it has several.
        labels: the folders' names.
        pictures: files with the position of their class.
        root: what the names of samples are relative to.
    """

    name: str
    labels: tuple[str, ...]
    pictures: tuple[tuple[Path, int], ...]
    root: Path
    task: str = "classify"

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Sample]:
        for path, class_id in self.pictures:
            name = str(path.relative_to(self.root))
            yield Sample(name, read_picture(path), ClassTruth(class_id))


def open_class_folders(folder: Path) -> ClassFolders:
    """Open a folder of class folders, or of splits (`val`, else `test`, else `train`) of them.

    Raises:
        DatasetError: if it holds no class folders or no pictures.
    """
    inside = _folders(folder)
    names = {path.name.lower(): path for path in inside}
    split = next((split for split in _SPLITS if split in names), None)
    if split is not None and set(names) <= set(_SPLITS):
        found = open_class_folders(names[split])
        name = f"{folder.name} ({names[split].name})"
        return ClassFolders(name, found.labels, found.pictures, found.root)
    pictures = tuple(
        (picture, class_id)
        for class_id, path in enumerate(inside)
        for picture in pictures_in(path, deep=False)
    )
    if not pictures:
        raise DatasetError(
            f"{folder} is no dataset: it holds neither class folders with pictures in them, nor "
            f"'images' and 'labels', nor a data.yaml."
        )
    return ClassFolders(folder.name, tuple(path.name for path in inside), pictures, folder)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError as error:
        raise DatasetError(f"The folder {folder} cannot be read: {error.strerror}.") from error
