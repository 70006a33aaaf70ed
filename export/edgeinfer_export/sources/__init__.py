"""Where models come from: one file per framework, each gives an ONNX graph.

To add one: write `open_NAME(path) -> SourceModel` in a file of its own and name it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from edgeinfer.errors import UsageError
from edgeinfer_export.sources.base import SourceModel
from edgeinfer_export.sources.onnx import open_onnx

__all__ = ["SOURCES", "SourceModel", "open_source_model"]

SOURCES: Mapping[str, Callable[[Path], SourceModel]] = MappingProxyType({"onnx": open_onnx})

# What an ending says about where a file comes from.
_ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        ".onnx": "onnx",
        ".pt": "PyTorch",
        ".pth": "PyTorch",
        ".pt2": "PyTorch",
        ".ckpt": "PyTorch",
        ".safetensors": "PyTorch",
        ".keras": "Keras",
        ".h5": "Keras",
        ".hdf5": "Keras",
        ".pb": "TensorFlow",
        ".tflite": "TensorFlow Lite",
        ".caffemodel": "Caffe",
        ".prototxt": "Caffe",
        ".params": "MXNet",
        ".cfg": "Darknet",
        ".weights": "Darknet",
        ".pdmodel": "Paddle",
        ".pdiparams": "Paddle",
    }
)


def open_source_model(path: Path, framework: str) -> SourceModel:
    """Read a trained model.

    Args:
        path: the file.
        framework: a name of `SOURCES`, or ``auto`` to go by the file.

    Raises:
        UsageError: if no reader for this kind of file exists here.
        ModelFileError: if the file cannot be read.
    """
    found = _ENDINGS.get(path.suffix.lower(), "onnx")
    if framework == "auto" and found not in SOURCES and path.exists():
        raise UsageError(
            f"{path} is a file of {found}; this version reads {', '.join(SOURCES)}. Export it to "
            f"ONNX with {found}'s own exporter first, or say --framework onnx if it is ONNX."
        )
    name = "onnx" if framework == "auto" else framework
    return SOURCES[name](path)
