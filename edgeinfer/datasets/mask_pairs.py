"""Data for semantic segmentation: pictures, and masks of the same names whose values are classes.

Masks are 8 or 16 bit PNG (or other lossless pictures) of one channel, or with a palette; 255 means
that nobody said what is there. They lie in a folder `masks` (or `annotations`, `labels`) beside
`images`, or next to the pictures as `NAME_mask.png` or `NAME.png` beside `NAME.jpg`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeinfer.datasets.base import DatasetError, MapTruth, Sample
from edgeinfer.datasets.pictures import pictures_in, read_picture
from edgeinfer.frames import Array
from edgeinfer.packages import need, opencv
from edgeinfer.records import dataclass

MASK_FOLDERS = ("masks", "annotations", "labels")
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".pgm")
_PALETTE = 3  # PNG's colour type, https://www.w3.org/TR/png-3
_MARKS = ("_mask", "-mask", "_label", "_gt")


@dataclass(frozen=True)
class MaskPairs:
    """Pictures and the class of each of their pixels.

    Attributes:
        name: the folder.
        labels: from `classes.txt`, empty where there is none.
        pairs: picture and mask.
        root: what the names of samples are relative to.
    """

    name: str
    labels: tuple[str, ...]
    pairs: tuple[tuple[Path, Path], ...]
    root: Path
    task: str = "semantic"

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Sample]:
        for path, mask in self.pairs:
            picture = read_picture(path)
            classes = _read_mask(mask)
            if classes.shape != picture.shape[:2]:
                raise DatasetError(
                    f"The mask {mask} is {classes.shape[1]}x{classes.shape[0]}, its picture "
                    f"{path.name} {picture.shape[1]}x{picture.shape[0]}: they must be alike."
                )
            yield Sample(str(path.relative_to(self.root)), picture, MapTruth(classes))


def find_pairs(folder: Path) -> tuple[tuple[Path, Path], ...]:
    """Pictures of a folder that have masks; empty where there are none."""
    inner = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
    if (folder / "images").is_dir():
        if inner is None:
            return ()
        masks = {path.stem: path for path in _lossless(inner)}
        pictures = pictures_in(folder / "images", deep=True)
        return tuple((path, mask) for path in pictures if (mask := _mask_of(path, masks)))
    here = pictures_in(folder, deep=False)
    marked = {path.stem: path for path in here if path.suffix.lower() in _LOSSLESS}
    pairs = []
    for path in here:
        mask = _mask_of(path, marked)
        if mask is not None and mask != path:
            pairs.append((path, mask))
    return tuple(pairs)


def _mask_of(path: Path, masks: dict[str, Path]) -> Path | None:
    for name in (*(path.stem + mark for mark in _MARKS), path.stem):
        if name in masks:
            return masks[name]
    return None


def _lossless(folder: Path) -> list[Path]:
    found = pictures_in(folder, deep=True)
    return [path for path in found if path.suffix.lower() in _LOSSLESS]


def open_mask_pairs(folder: Path) -> MaskPairs:
    """Open a folder of pictures and masks.

    Raises:
        DatasetError: if no picture has a mask.
    """
    pairs = find_pairs(folder)
    if not pairs:
        raise DatasetError(
            f"{folder} holds no pictures with masks: put them into 'images' and 'masks' under the "
            f"same names, or beside each other as NAME.jpg and NAME_mask.png."
        )
    labels: tuple[str, ...] = ()
    names = folder / "classes.txt"
    if names.is_file():
        lines = names.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        labels = tuple(line.strip() for line in lines if line.strip())
    return MaskPairs(folder.name, labels, pairs, folder)


def _read_mask(path: Path) -> Array:
    """`(H, W)` class numbers.

    Raises:
        DatasetError: if it cannot be read or holds colours.
    """
    cv2 = opencv()
    try:
        data = np.fromfile(path, np.uint8)
        # A palette is not applied: its entries are the classes' numbers.
        mask = _palette_numbers(path)
        if mask is None:
            mask = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error) as error:
        raise DatasetError(f"The mask {path} cannot be read: {error}.") from error
    if mask is None:
        raise DatasetError(f"The mask {path} cannot be read: it is no picture, or damaged.")
    if mask.ndim == 3 and (mask == mask[:, :, :1]).all():
        mask = mask[:, :, 0]
    if mask.ndim != 2:
        raise DatasetError(
            f"The mask {path} holds colours, {list(mask.shape)}: a mask has one channel whose "
            f"values are class numbers."
        )
    return np.asarray(mask)


def _palette_numbers(path: Path) -> Array | None:
    """The numbers in a picture with a palette, which OpenCV would turn into colours; None for
    other pictures."""
    head = path.read_bytes()[:26]
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26 or head[25] != _PALETTE:
        return None
    av = need("av")
    try:
        with av.open(str(path)) as file:
            frame = next(file.decode(video=0))
    except (av.FFmpegError, StopIteration) as error:
        raise DatasetError(f"The mask {path} cannot be read: {error}.") from error
    if frame.format.name != "pal8":
        return None
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return np.array(rows[: frame.height, : frame.width])
