"""The video of the demo: held-out digits moving past a camera, and the truth about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeinfer_export.demo_model.belt import Array, draw_belt, look, make_camera, motion_blur
from edgeinfer_export.demo_model.digits import DigitPool
from edgeinfer_export.demo_model.items import make_item
from edgeinfer_export.demo_model.network import CLASSES
from edgeinfer_export.demo_model.scene import Placed, overlap, put_item

FRAMES, FPS, SIZE_WH = 360, 30, (640, 360)
SPEED_PX = 8
LINE_X = SIZE_WH[0] // 2
_SEED = 3
_BELT_ROWS = (22, 338)


def write_video(pool: DigitPool, path: Path) -> dict[str, Any]:
    """Writes the video and, beside it, a JSON file with what passes and when.

    Every digit enters after the first frame and is gone before the last, so that each passes the
    line in the middle exactly once.

    Args:
        pool: The digits to use.
        path: The video; the truth gets the same name with the ending `.json`.

    Returns:
        The truth.

    Raises:
        RuntimeError: OpenCV cannot write this kind of video.
    """
    rng = np.random.default_rng(_SEED)
    travel = SPEED_PX * (FRAMES - 1)
    camera = make_camera(rng, SIZE_WH, noise=1.2, belt_rows=_BELT_ROWS)
    # OpenCV writes a key frame every 12 frames, at a fixed quality: a calm belt keeps them small.
    strip_wh = (SIZE_WH[0] + travel, SIZE_WH[1])
    strip = draw_belt(rng, strip_wh, clutter=56, unit=1.0, weave_contrast=2.5)
    placed = _fill(strip, pool, rng, (SIZE_WH[0], travel))
    strip = motion_blur(strip, SPEED_PX)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_WH)
    if not writer.isOpened():
        raise RuntimeError(
            f"OpenCV cannot write {path} as mp4v; install the wheel of opencv-python-headless"
        )
    for frame in range(FRAMES):
        writer.write(look(camera, strip, frame * SPEED_PX, rng))
    writer.release()
    truth = _truth(placed, path.name)
    text = json.dumps(truth, indent=1)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return truth


def _fill(
    strip: Array, pool: DigitPool, rng: np.random.Generator, span: tuple[int, int]
) -> list[Placed]:
    """Packs digits of all classes in turn, from left to right, as long as there is room."""
    placed: list[Placed] = []
    taken: list[tuple[int, int, int, int]] = []
    order: list[int] = []
    cursor = span[0]
    while True:
        order = order or [int(label) for label in rng.permutation(CLASSES)]
        item = make_item(pool, rng, 1.0, order.pop(0))
        side = item.alpha.shape[0]
        lowest = _BELT_ROWS[0] - item.box_xyxy[1] + 6
        highest = _BELT_ROWS[1] - item.box_xyxy[3] - 6
        spot = None
        while spot is None and cursor + side <= span[1]:
            for y in rng.integers(lowest, highest, 6).tolist():
                mine = (cursor, y, cursor + side, y + side)
                if not any(overlap(mine, other) for other in taken):
                    spot = mine
                    break
            cursor += 4
        if spot is None:
            return placed
        taken.append(spot)
        placed.append(put_item(strip, item, spot[:2]))


def _truth(placed: list[Placed], name: str) -> dict[str, Any]:
    digits = []
    for digit in placed:
        x0, _, x1, _ = digit.box_xyxy
        digits.append(
            {
                "label": str(digit.label),
                "digit_index": digit.digit_index,
                "first_frame": (x0 - SIZE_WH[0]) // SPEED_PX + 1,
                "crossing_frame": -((LINE_X - (x0 + x1) // 2) // SPEED_PX),
                "last_frame": (x1 - 1) // SPEED_PX,
                "box_xyxy_frame_0": list(digit.box_xyxy),
            }
        )
    digits.sort(key=lambda entry: (entry["crossing_frame"], entry["box_xyxy_frame_0"]))
    return {
        "video": name,
        "frames": FRAMES,
        "fps": FPS,
        "size_wh": list(SIZE_WH),
        "line_x": LINE_X,
        "speed_px_per_frame": [-SPEED_PX, 0],
        "digits_passing": len(digits),
        "order": [entry["label"] for entry in digits],
        "digits": digits,
    }
