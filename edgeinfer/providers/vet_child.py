"""The child of `vet`: open the file as the parent will, and say that it survived.

It runs as a file, so that it imports ONNX Runtime and nothing else.
"""

from __future__ import annotations

import json
import sys

import onnxruntime


def main() -> None:
    """Open the file that is named; what ONNX Runtime refuses politely, the parent reports."""
    onnxruntime.set_default_logger_severity(4)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(sys.argv[1], settings, providers=["CPUExecutionProvider"])
        opened = True
    except Exception:
        opened = False
    sys.stdout.write(json.dumps({"opened": opened}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
