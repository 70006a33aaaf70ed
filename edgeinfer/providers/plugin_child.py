"""The child of `plugins`: load a plugin's library and say what became of it.

It runs as a file, so that it imports ONNX Runtime, the wheel and nothing else.
"""

from __future__ import annotations

import importlib
import json
import sys

import onnxruntime


def main() -> None:
    """Register the plugin of the wheel that is named, and list its devices."""
    onnxruntime.set_default_logger_severity(4)
    answer: dict[str, object] = {"error": None, "devices": []}
    try:
        wheel = importlib.import_module(sys.argv[1])
        name = wheel.get_ep_name()
        onnxruntime.register_execution_provider_library(name, wheel.get_library_path())
        answer["devices"] = [
            device.device.type.name
            for device in onnxruntime.get_ep_devices()
            if device.ep_name == name
        ]
    except Exception as error:
        answer["error"] = str(error) or type(error).__name__
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
