"""A detector that is small enough to write by hand, and pictures that it can see something on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer import cache

SPEC: dict[str, Any] = {
    "schema": "edgeinfer.spec/1",
    "task": "detect",
    "head": "yolov8",
    "labels": ["blue", "green", "red"],
    "inputs": [{"name": "images", "size_hw": [32, 32], "color": "rgb"}],
    "thresholds": {"score": 0.25, "iou": 0.45},
}

# Eight by eight cells of four pixels: `stem` takes their mean colours, `mix` passes them on,
# `score` answers to one colour each, `box` lays a box of four pixels over the cell.
DETECTOR = """
<ir_version: 8, opset_import: ["" : 17]>
detector (float[1, 3, 32, 32] images) => (float[1, 7, 64] output0) {
  cells = Conv <strides = [4, 4]> (images, stem_w, stem_b)
  bright = Relu (cells)
  mixed = Conv (bright, mix_w, mix_b)
  seen = Relu (mixed)
  box_map = Conv (seen, box_w, box_b)
  score_map = Conv (seen, score_w, score_b)
  boxes = Reshape (box_map, four)
  logits = Reshape (score_map, three)
  placed = Add (boxes, grid)
  scores = Sigmoid (logits)
  output0 = Concat <axis = 1> (placed, scores)
}
"""


def weights() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    stem = np.zeros((6, 3, 4, 4), np.float32)
    for channel in range(3):
        stem[channel, channel] = 1 / 16
        stem[channel + 3] = -1 / 48  # darkness, so that no weight is useless
    mix = np.eye(6, dtype=np.float32) + random.normal(0, 0.01, (6, 6)).astype(np.float32)
    score = np.full((3, 6), -12.0, np.float32)
    score[[0, 1, 2], [2, 1, 0]] = 18.0
    score[:, 3:] = 0
    y, x = np.divmod(np.arange(64), 8)
    grid = np.stack([4 * x + 2, 4 * y + 2, np.full(64, 4), np.full(64, 4)]).astype(np.float32)
    return {
        "stem_w": stem,
        "stem_b": np.array([0, 0, 0, 1, 1, 1], np.float32),
        "mix_w": mix[:, :, None, None],
        "mix_b": np.zeros(6, np.float32),
        "box_w": random.normal(0, 0.01, (4, 6, 1, 1)).astype(np.float32),
        "box_b": np.zeros(4, np.float32),
        "score_w": score[:, :, None, None],
        "score_b": np.full(3, -6, np.float32),
        "grid": grid[None],
        "four": np.array([1, 4, 64]),
        "three": np.array([1, 3, 64]),
    }


def make_detector(spec: dict[str, Any] | None = SPEC) -> onnx.ModelProto:
    """The detector, with its spec in the metadata."""
    model = onnx.parser.parse_model(DETECTOR)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in weights().items()
    )
    if spec is not None:
        model.metadata_props.add(key="edgeinfer.spec", value=json.dumps(spec))
    return model


@pytest.fixture
def detector() -> onnx.ModelProto:
    return make_detector()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The detector as a file."""
    path = tmp_path / "detector.onnx"
    onnx.save(make_detector(), str(path))
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The detector as a file that does not say what it means."""
    path = tmp_path / "bare.onnx"
    onnx.save(make_detector(None), str(path))
    return path


def picture(seed: int) -> tuple[np.ndarray[Any, Any], list[tuple[int, int, int]]]:
    """A dark 32x32 BGR picture with three bright cells, and their class, column and row."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 30, (32, 32, 3), np.uint8)
    cells = []
    for spot in random.choice(64, 3, replace=False):
        row, column = divmod(int(spot), 8)
        label = int(random.integers(0, 3))
        pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4, label] = 230
        cells.append((label, column, row))
    return pixels, cells


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of eight pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(8):
        assert cv2.imwrite(str(folder / f"{seed}.png"), picture(seed)[0])
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A YOLO data.yaml over twelve other pictures."""
    root = tmp_path / "labelled"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for seed in range(100, 112):
        pixels, cells = picture(seed)
        assert cv2.imwrite(str(root / "images" / f"{seed}.png"), pixels)
        lines = [f"{label} {(x + 0.5) / 8} {(y + 0.5) / 8} 0.125 0.125" for label, x, y in cells]
        (root / "labels" / f"{seed}.txt").write_text("\n".join(lines))
    path = root / "data.yaml"
    path.write_text("val: images\nnames: [blue, green, red]\n")
    return path


@pytest.fixture
def own_cache(tmp_path: Path) -> Iterator[Path]:
    """An empty cache, where what other tests calibrated would be found again."""
    before = Path(os.environ["EDGEINFER_CACHE"])
    cache.set_root(tmp_path / "own-cache")
    yield tmp_path / "own-cache"
    cache.set_root(before)
