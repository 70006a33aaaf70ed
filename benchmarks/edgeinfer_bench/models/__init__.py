"""Models of well-known shape and random weights: what they cost is real, what they say is not.

Nothing is downloaded and no framework is needed; the same call gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgeinfer import cache
from edgeinfer.errors import UsageError, suggest
from edgeinfer.files import write_bytes
from edgeinfer_bench.models.deit_tiny import build_deit_tiny
from edgeinfer_bench.models.lstm import build_lstm
from edgeinfer_bench.models.mobilenet_v2 import build_mobilenet_v2
from edgeinfer_bench.models.mobilenet_v3 import build_mobilenet_v3
from edgeinfer_bench.models.resnet50 import build_resnet50
from edgeinfer_bench.models.yolov8n import build_yolov8n
from edgeinfer_bench.models.yolox_nano import build_yolox_nano

# Part of each file's name: change it with anything that changes what is built.
_RECIPE = "2"


@dataclass(frozen=True)
class Architecture:
    """How a model is built.

    Attributes:
        build: from height and width of the picture (or the sequence's length) to the file.
        size: the one that its authors state costs for.
    """

    build: Callable[[int], bytes]
    size: int


MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        "yolov8n-like": Architecture(build_yolov8n, 640),
        "yolox-nano-like": Architecture(build_yolox_nano, 416),
        "resnet50-like": Architecture(build_resnet50, 224),
        "mobilenet-v2-like": Architecture(build_mobilenet_v2, 224),
        "mobilenet-v3-small-like": Architecture(build_mobilenet_v3, 224),
        "lstm-like": Architecture(build_lstm, 128),
        "deit-tiny-like": Architecture(build_deit_tiny, 224),
    }
)


def model_file(name: str, folder: Path, size: int | None = None) -> Path:
    """A model of `MODELS`, built where it is not there yet.

    Args:
        folder: where the file is kept and found again.
        size: height and width of the input, or the length of the sequence; by default the usual.

    Raises:
        UsageError: for an unknown name, or a size that the architecture does not take.
    """
    if name not in MODELS:
        raise UsageError(f"There is no benchmark model '{name}'. {suggest(name, MODELS)}")
    size = MODELS[name].size if size is None else size
    path = folder / f"{name}-{size}-{cache.key_of(name, size, _RECIPE)[:8]}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, MODELS[name].build(size))
    return path


def yolov8n_like(folder: Path, size: int = 640) -> Path:
    """A detector as costly as YOLOv8n: 3.2 million parameters, 8.7 GFLOPs at 640.

    Args:
        folder: where the file is kept and found again.
        size: height and width of the input, a multiple of 32.

    Returns:
        An ONNX file: `images (1, 3, size, size) float32` to `output0 (1, 84, N) float32`, with an
        embedded spec (detect, head ``yolov8``).
    """
    return model_file("yolov8n-like", folder, size)


def mobilenet_v2_like(folder: Path, size: int = 224) -> Path:
    """A classifier as costly as MobileNetV2: 3.5 million parameters, 0.6 GFLOPs at 224.

    Args:
        folder: where the file is kept and found again.
        size: height and width of the input, a multiple of 32.

    Returns:
        An ONNX file: `input (1, 3, size, size) float32` to `logits (1, 1000) float32`, with an
        embedded spec (classify, head ``logits``).
    """
    return model_file("mobilenet-v2-like", folder, size)
