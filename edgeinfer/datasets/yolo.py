"""Labels in Ultralytics' layout: a data.yaml, or a folder with `images/` and `labels/`.

The rules are those of https://docs.ultralytics.com/datasets/detect/ and of Ultralytics' own
loader, with one difference: a relative `path` is looked for beside the data.yaml, never in a
folder of a settings file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeinfer.datasets.base import DatasetError, Sample, Truth
from edgeinfer.datasets.pictures import is_picture, pictures_in, read_picture
from edgeinfer.datasets.yolo_labels import label_path, read_boxes
from edgeinfer.datasets.yolo_shapes import read_masks, read_oriented, read_poses
from edgeinfer.records import dataclass

SPLITS = ("val", "test", "train")
TASKS = ("detect", "segment", "pose", "obb")
# Keypoints of people in COCO: x, y, visibility.
COCO_SHAPE = (17, 3)


@dataclass(frozen=True)
class YoloDataset:
    """Pictures with boxes, outlines, keypoints or turned boxes.

    Attributes:
        name: the data.yaml or folder, and the split.
        labels: class names, empty where the dataset has none.
        pictures: files, in the order in which they are read.
        root: what the names of samples are relative to.
        task: how the label files are read: ``detect``, ``segment``, ``pose`` or ``obb``.
        kpt_shape: keypoints of an object and values of each, for ``pose``.
    """

    name: str
    labels: tuple[str, ...]
    pictures: tuple[Path, ...]
    root: Path
    task: str = "detect"
    kpt_shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Sample]:
        for path in self.pictures:
            picture = read_picture(path)
            truth = self._truth(label_path(path), (picture.shape[1], picture.shape[0]))
            inside = path.is_relative_to(self.root)
            yield Sample(str(path.relative_to(self.root) if inside else path), picture, truth)

    def _truth(self, path: Path, size_wh: tuple[int, int]) -> Truth:
        classes = len(self.labels) or None
        if self.task == "segment":
            return read_masks(path, size_wh, classes)
        if self.task == "obb":
            return read_oriented(path, size_wh, classes)
        if self.task == "pose":
            return read_poses(path, size_wh, classes, self.kpt_shape or COCO_SHAPE)
        return read_boxes(path, size_wh, classes)


def open_yaml(path: Path, task: str | None = None) -> YoloDataset:
    """Open a data.yaml: its `val` split, else `test`, else `train`.

    Args:
        task: how its label files are read; None for ``pose`` where it names a `kpt_shape`, else
            ``detect``.

    Raises:
        DatasetError: if it cannot be read, lacks names or splits, or a split holds no pictures.
    """
    data = _read_yaml(path)
    labels = _labels(data, path)
    split = next((split for split in SPLITS if data.get(split)), None)
    if split is None:
        raise DatasetError(
            f"{path} names no pictures: it needs 'val', 'test' or 'train', and holds "
            f"{', '.join(map(str, data)) or 'nothing'}."
        )
    root = _root(data, path)
    entries = data[split] if isinstance(data[split], list) else [data[split]]
    pictures: dict[Path, None] = {}
    for entry in entries:
        if not isinstance(entry, str):
            raise DatasetError(f"{path}: '{split}' is {entry!r}, not a folder or a text file.")
        pictures.update(dict.fromkeys(_pictures_of(entry, root, path, split)))
    if not pictures:
        raise DatasetError(f"{path}: '{split}' ({data[split]}) holds no pictures in {root}.")
    shape = _kpt_shape(data, path)
    read_as = _task(task) or ("detect" if shape is None else "pose")
    name = f"{path.name} ({split})"
    return _labelled(YoloDataset(name, labels, tuple(pictures), root, read_as, shape))


def _task(task: str | None) -> str | None:
    """A task whose truth can be read from label files; others are judged as detectors."""
    return task if task in TASKS else None


def _kpt_shape(data: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    shape = data.get("kpt_shape")
    if shape is None:
        return None
    fits = isinstance(shape, list) and len(shape) == 2 and all(type(i) is int for i in shape)
    if not fits or shape[0] < 1 or shape[1] not in (2, 3):
        raise DatasetError(f"{path}: 'kpt_shape' is {shape!r}, not [keypoints, 2 or 3].")
    return shape[0], shape[1]


def open_folder(folder: Path, task: str | None = None) -> YoloDataset:
    """Open a folder with `images/` and `labels/`; names come from `classes.txt`, if there is one.

    Raises:
        DatasetError: if it holds no pictures or the names cannot be read.
    """
    pictures = tuple(pictures_in(folder / "images", deep=True))
    if not pictures:
        raise DatasetError(f"{folder / 'images'} holds no pictures.")
    labels: tuple[str, ...] = ()
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt"):
        if path.is_file():
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            labels = tuple(line.strip() for line in lines if line.strip())
            break
    return _labelled(YoloDataset(folder.name, labels, pictures, folder, _task(task) or "detect"))


def yaml_in(folder: Path) -> Path | None:
    """The one data.yaml of a folder, or None where there is none or more than one."""
    found = []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            data = _read_yaml(path)
        except DatasetError:
            continue
        if any(split in data for split in SPLITS) and ("names" in data or "nc" in data):
            found.append(path)
    return found[0] if len(found) == 1 else None


def _labelled(dataset: YoloDataset) -> YoloDataset:
    """Refuse a dataset without a single label file: every score on it would be meaningless."""
    if not any(label_path(picture).is_file() for picture in dataset.pictures):
        first = label_path(dataset.pictures[0])
        raise DatasetError(
            f"None of the {len(dataset)} pictures of {dataset.name} has a label file; the first "
            f"was looked for at {first}. Pictures lie in a folder 'images', their labels under "
            f"the same names in a folder 'labels' beside it."
        )
    return dataset


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DatasetError(f"The dataset {path} does not exist.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(f"The dataset {path} is not readable YAML: {first}.") from error
    if not isinstance(data, dict):
        raise DatasetError(f"The dataset {path} holds a {type(data).__name__}, not a mapping.")
    return data


def _labels(data: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    names = data.get("names")
    if names is None and isinstance(data.get("nc"), int):
        return tuple(f"class_{number}" for number in range(data["nc"]))
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(
                f"{path}: the keys of 'names' are not 0 to {len(names) - 1} without a gap."
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: 'names' is {names!r}, not a list or mapping of class names.")
    if isinstance(data.get("nc"), int) and data["nc"] != len(names):
        raise DatasetError(f"{path}: 'nc' is {data['nc']}, but there are {len(names)} names.")
    return tuple(str(name) for name in names)


def _root(data: Mapping[str, Any], path: Path) -> Path:
    """The folder that splits are relative to."""
    given = data.get("path")
    if not given:
        return path.parent
    if not isinstance(given, str):
        raise DatasetError(f"{path}: 'path' is {given!r}, not a folder's name.")
    root = path.parent / given
    # A file that was moved into its own dataset (path: coco8 inside coco8/) still means this one.
    return root if root.is_dir() else path.parent


def _pictures_of(entry: str, root: Path, path: Path, split: str) -> list[Path]:
    place = root / entry
    if not place.exists() and entry.startswith("../"):
        place = root / entry[3:]  # Roboflow writes '../' in front of folders that lie beside
    if place.is_dir():
        return pictures_in(place, deep=True)
    if place.suffix == ".txt" and place.is_file():
        return _listed(place)
    raise DatasetError(
        f"{path}: '{split}' is '{entry}', and neither a folder nor a .txt list of that name "
        f"exists in {root}. Set 'path' to the dataset's folder, relative to this file."
    )


def _listed(path: Path) -> list[Path]:
    """Pictures named in a text file, one per line, relative to that file."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    pictures = [path.parent / line.strip() for line in lines if line.strip()]
    for picture in pictures:
        if not is_picture(picture):
            raise DatasetError(f"{path} lists {picture.name}, which is no picture file.")
    return pictures
