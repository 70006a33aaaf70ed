"""Models of well-known shape and random weights: what they cost is real, what they say is not.

Nothing is downloaded and no framework is needed; the same call gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from edgeinfer import cache
from edgeinfer.files import write_bytes
from edgeinfer_bench.models.mobilenet_v2 import build_mobilenet_v2
from edgeinfer_bench.models.yolov8n import build_yolov8n

# Part of each file's name: change it with anything that changes what is built.
_RECIPE = "1"

MODELS: Mapping[str, Callable[[int], bytes]] = MappingProxyType(
    {"yolov8n-like": build_yolov8n, "mobilenet-v2-like": build_mobilenet_v2}
)


def yolov8n_like(folder: Path, size: int = 640) -> Path:
    """A detector as costly as YOLOv8n: 3.2 million parameters, 8.7 GFLOPs at 640.

    Args:
        folder: where the file is kept and found again.
        size: height and width of the input, a multiple of 32.

    Returns:
        An ONNX file: `images (1, 3, size, size) float32` to `output0 (1, 84, N) float32`, with an
        embedded spec (detect, head ``yolov8``).
    """
    return _kept(folder, "yolov8n-like", size)


def mobilenet_v2_like(folder: Path, size: int = 224) -> Path:
    """A classifier as costly as MobileNetV2: 3.5 million parameters, 0.6 GFLOPs at 224.

    Args:
        folder: where the file is kept and found again.
        size: height and width of the input, a multiple of 32.

    Returns:
        An ONNX file: `input (1, 3, size, size) float32` to `logits (1, 1000) float32`, with an
        embedded spec (classify, head ``logits``).
    """
    return _kept(folder, "mobilenet-v2-like", size)


def _kept(folder: Path, name: str, size: int) -> Path:
    path = folder / f"{name}-{size}-{cache.key_of(name, size, _RECIPE)[:8]}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, MODELS[name](size))
    return path
