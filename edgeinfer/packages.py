"""Optional packages, fetched on first use, with one clear message where they are missing."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

from edgeinfer.errors import MissingPackageError

_REMEDIES = {
    "cv2": "pip install 'edgeinfer[cpu]', or the opencv-python-headless wheel made for this box",
    "onnxruntime": (
        "pip install 'edgeinfer[cpu]'; on a GPU or Jetson box install its own onnxruntime wheel"
    ),
    "openvino": "pip install openvino",
    "av": "pip install 'edgeinfer[cpu]', or pip install av",
    "jinja2": "pip install 'edgeinfer[bench]'",
    "pynvml": "pip install nvidia-ml-py",
    "torch": "pip install 'edgeinfer[torch]'",
    "onnxscript": "pip install 'edgeinfer[torch]'",
    "safetensors": "pip install 'edgeinfer[torch]'",
    "transformers": "pip install 'edgeinfer[transformers]'",
    "sklearn": "pip install 'edgeinfer[sklearn]'",
    "skl2onnx": "pip install 'edgeinfer[sklearn]'",
    "skops": "pip install 'edgeinfer[sklearn]'",
}


def need(name: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingPackageError: with the command that installs it, or the reason why it fails to load.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        # Ctrl-C inside a module's own C code comes out as a failed import.
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        remedy = _REMEDIES.get(name.partition(".")[0], f"pip install {name}")
        raise MissingPackageError(
            f"The package {name} is needed here and cannot be imported ({error}). "
            f"Install it with: {remedy}."
        ) from error


@functools.cache
def opencv() -> Any:
    """OpenCV, quiet: what it prints about broken input, our own errors say better.

    Raises:
        MissingPackageError: if it is not installed.
    """
    cv2 = need("cv2")
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    else:  # OpenCV 5
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
