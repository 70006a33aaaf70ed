"""The child of `vet` for OpenVINO's own runtime: open the file, run it, say what became of it.

It runs as a file, so that it imports OpenVINO and nothing else.
"""

from __future__ import annotations

import json
import signal
import sys

import numpy as np

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # see edgeinfer.environment
import openvino  # noqa: E402

_LIMIT_S = 120


def main() -> None:
    """Open the file that is named, and run it once where its shapes are known."""
    # Whoever asked may have forgotten it.
    signal.alarm(_LIMIT_S)
    answer: dict[str, object] = {"opened": False, "error": None}
    try:
        core = openvino.Core()
        program = core.compile_model(core.read_model(sys.argv[1]), "CPU")
        answer["opened"] = True
        _say("opened")
        sys.stdin.readline()
        if all(port.get_partial_shape().is_static for port in program.inputs):
            zeros = [
                np.zeros(tuple(port.shape), port.element_type.to_dtype()) for port in program.inputs
            ]
            program.create_infer_request().infer(zeros)
    except Exception as error:
        # What OpenVINO refuses politely, the parent meets itself.
        answer["error"] = str(error)
    if not answer["opened"]:
        _say("refused")
    _say(json.dumps(answer))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
