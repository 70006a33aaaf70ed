"""Labelled data, one file per layout."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.datasets.base import BoxTruth, ClassTruth, Dataset, DatasetError, Sample
from edgeinfer.datasets.class_folders import open_class_folders
from edgeinfer.datasets.pictures import pictures_in, read_picture
from edgeinfer.datasets.yolo import open_folder, open_yaml, yaml_in

__all__ = [
    "BoxTruth",
    "ClassTruth",
    "Dataset",
    "DatasetError",
    "Sample",
    "open_dataset",
    "pictures_in",
    "read_picture",
]


def open_dataset(text: str) -> Dataset:
    """Open labelled data by what lies there.

    Args:
        text: a YOLO data.yaml; a folder with one, or with `images/` and `labels/` (detect); or a
            folder with one folder per class (classify).

    Raises:
        DatasetError: if it is missing, empty or none of these.
    """
    path = Path(text)
    if path.is_dir():
        inner = yaml_in(path)
        if inner is not None:
            return open_yaml(inner)
        if (path / "images").is_dir() and (path / "labels").is_dir():
            return open_folder(path)
        return open_class_folders(path)
    if not path.exists():
        raise DatasetError(f"The dataset {path} does not exist.")
    if path.suffix.lower() in (".yaml", ".yml"):
        return open_yaml(path)
    raise DatasetError(
        f"{path} is no dataset: give a YOLO data.yaml, a folder with 'images' and 'labels', or a "
        f"folder with one folder per class."
    )
