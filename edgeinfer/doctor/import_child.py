"""The child of `imports`: import one package and say what became of it.

It runs as a file, so that nothing else is imported before.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    """Import the package that is named; print its version, place and abilities, or the error."""
    answer: dict[str, object] = {}
    try:
        module = importlib.import_module(sys.argv[1])
        answer["version"] = str(getattr(module, "__version__", ""))
        answer["file"] = str(getattr(module, "__file__", ""))
        if sys.argv[1] == "cv2":
            registry = module.videoio_registry
            answer["ffmpeg"] = bool(registry.hasBackend(module.CAP_FFMPEG))
            answer["gstreamer"] = bool(registry.hasBackend(module.CAP_GSTREAMER))
        if sys.argv[1] == "onnxruntime":
            answer["providers"] = list(module.get_available_providers())
    except Exception as error:
        answer["error"] = f"{type(error).__name__}: {error}"
        answer["missing"] = getattr(error, "name", None) == sys.argv[1]
    sys.stdout.write("\n" + json.dumps(answer))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
