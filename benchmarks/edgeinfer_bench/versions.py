"""Which packages a measurement depends on, without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

import edgeinfer

_PACKAGES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "opencv-python",
    "opencv-python-headless",
    "openvino",
)


def versions() -> dict[str, str]:
    """Versions of Python, edgeinfer and those of the packages that are installed."""
    found = {"python": platform.python_version(), "edgeinfer": edgeinfer.__version__}
    for name in _PACKAGES:
        # metadata.version() would raise for one that is missing.
        distribution = next(iter(metadata.distributions(name=name)), None)
        if distribution is not None:
            found[name] = distribution.version
    return found
