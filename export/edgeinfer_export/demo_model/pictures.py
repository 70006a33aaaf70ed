"""Calibration pictures and the labelled validation set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.demo_model.digits import DigitPool
from edgeinfer_export.demo_model.network import CLASSES
from edgeinfer_export.demo_model.scene import draw_picture

CALIBRATION_PICTURES, VALIDATION_PICTURES = 48, 120
# First number of every picture's seed; training uses its schedule's own.
_CALIBRATION_SEED, _VALIDATION_SEED = 1, 2
# Quality and noise keep the wheel small.
_JPEG_QUALITY, _NOISIEST = 72, 3.0
# Mostly the video's shape; the others make the letterbox pad at the sides instead of above.
_SIZES_WH, _CHANCES = ((384, 216), (480, 270), (320, 240)), (0.8, 0.1, 0.1)


@dataclass(frozen=True, eq=False)
class Labelled:
    """A picture as it is read back, (H, W, 3) uint8 BGR, and its digits, (K, 5)."""

    picture: NDArray[np.uint8]
    digits: NDArray[np.float32]


def write_calibration(pool: DigitPool, folder: Path) -> list[Labelled]:
    """Draws the calibration pictures from the training digits."""
    folder.mkdir(parents=True)
    return [
        _write_picture(pool, (_CALIBRATION_SEED, index), folder / f"{index:03d}.jpg")
        for index in range(CALIBRATION_PICTURES)
    ]


def write_validation(pool: DigitPool, folder: Path) -> list[Labelled]:
    """Draws the validation set from the held-out digits, labelled in YOLO's text format."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    names = "".join(f'  {digit}: "{digit}"\n' for digit in range(CLASSES))
    text = f"path: .\ntrain: images\nval: images\nnames:\n{names}"
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    written = []
    for index in range(VALIDATION_PICTURES):
        path = folder / "images" / f"{index:03d}.jpg"
        labelled = _write_picture(pool, (_VALIDATION_SEED, index), path)
        label_path = folder / "labels" / f"{index:03d}.txt"
        label_path.write_text(_yolo_lines(labelled), encoding="utf-8")
        written.append(labelled)
    return written


def _write_picture(pool: DigitPool, seed: tuple[int, int], path: Path) -> Labelled:
    rng = np.random.default_rng(seed)
    size_wh = _SIZES_WH[int(rng.choice(len(_SIZES_WH), p=_CHANCES))]
    picture, digits = draw_picture(pool, rng, size_wh, _NOISIEST)
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, encoded = cv2.imencode(".jpg", picture, options)
    path.write_bytes(encoded.tobytes())
    return Labelled(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8), digits)


def _yolo_lines(labelled: Labelled) -> str:
    """One line a digit: class, centre and size as shares of the picture."""
    height, width = labelled.picture.shape[:2]
    lines = []
    for label, x0, y0, x1, y1 in labelled.digits.astype(float):
        centre = f"{(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f}"
        size = f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}"
        lines.append(f"{int(label)} {centre} {size}\n")
    return "".join(lines)
