"""Labelled data, one file per layout."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.datasets.base import (
    IGNORED,
    AnomalyTruth,
    BoxTruth,
    ClassTruth,
    Dataset,
    DatasetError,
    MapTruth,
    MaskTruth,
    OrientedTruth,
    PoseTruth,
    Sample,
    TextTruth,
    Truth,
    ValueTruth,
)
from edgeinfer.datasets.class_folders import open_class_folders
from edgeinfer.datasets.mask_pairs import MASK_FOLDERS, find_pairs, open_mask_pairs
from edgeinfer.datasets.normal_folders import open_normal_folders
from edgeinfer.datasets.pictures import pictures_in, read_picture
from edgeinfer.datasets.tables import Table, open_csv, open_npz
from edgeinfer.datasets.text_lines import (
    TextPictures,
    find_text_pictures,
    is_text_table,
    open_text_table,
)
from edgeinfer.datasets.user import UserMetric, is_callable_name, open_callable
from edgeinfer.datasets.yolo import open_folder, open_yaml, yaml_in
from edgeinfer.errors import UsageError

__all__ = [
    "IGNORED",
    "AnomalyTruth",
    "BoxTruth",
    "ClassTruth",
    "Dataset",
    "DatasetError",
    "MapTruth",
    "MaskTruth",
    "OrientedTruth",
    "PoseTruth",
    "Sample",
    "Table",
    "TextTruth",
    "Truth",
    "UserMetric",
    "ValueTruth",
    "is_callable_name",
    "open_dataset",
    "pictures_in",
    "read_picture",
]


def open_dataset(text: str, task: str | None = None) -> Dataset:
    """Open labelled data by what lies there.

    Args:
        text: a YOLO data.yaml; a folder with one, or with `images/` and `labels/` (detect,
            segment, pose, obb); a folder of pictures and masks (semantic); a folder with one
            folder per class (classify, anomaly); pictures with texts (text-recognize); a CSV or
            `.npz` (classify, anomaly, tensor); or ``module:callable``.
        task: of the model that is to be judged: the same label files may be read as boxes,
            outlines, keypoints or turned boxes, the same numbers as classes or values. None for
            what the data themselves suggest.

    Raises:
        DatasetError: if it is missing, empty or none of these.
        UsageError: if the text is empty, which would mean the working folder.
    """
    if not text:
        raise UsageError("The dataset is named '': name a folder or a file.")
    if is_callable_name(text):
        return open_callable(text, task)
    path = Path(text)
    if path.is_dir():
        return _open_folder(path, task)
    if not path.exists():
        raise DatasetError(f"The dataset {path} does not exist.")
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return open_yaml(path, task)
    if suffix == ".csv":
        return open_text_table(path) if is_text_table(path) else open_csv(path, task)
    if suffix == ".npz":
        return open_npz(path, task)
    raise DatasetError(
        f"{path} is no dataset: give a YOLO data.yaml, a folder with 'images' and 'labels' (or "
        f"'masks'), a folder with one folder per class, a .csv, a .npz, or module:callable."
    )


def _open_folder(path: Path, task: str | None) -> Dataset:
    inner = yaml_in(path)
    if inner is not None and task not in ("semantic", "anomaly"):
        return open_yaml(inner, task)
    if (path / "images").is_dir() and (path / "labels").is_dir() and task != "semantic":
        return open_folder(path, task)
    if task == "semantic" or any((path / name).is_dir() for name in MASK_FOLDERS):
        return open_mask_pairs(path)
    if task == "anomaly":
        return open_normal_folders(path)
    lines = find_text_pictures(path)
    if lines:
        return TextPictures(path.name, lines, path)
    if find_pairs(path):
        return open_mask_pairs(path)
    return open_class_folders(path)
