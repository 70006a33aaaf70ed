"""What libraries must find when they are loaded: variables that they take from nowhere else.

Numpy's OpenBLAS is told to let its threads sleep when they are idle. They spin for 2**26 processor
cycles, some 30 ms, after numpy was imported and after every product: on the processors that
inference, decoding or the vetting of a model wants then. On two processors the first opening of a
model took 70 ms longer by that.
https://github.com/OpenMathLib/OpenBLAS/blob/develop/docs/runtime_variables.md

ONNX Runtime's own wheels (1.32, if not before) keep a device identifier and a database in the
user's cache folder and send what they record of each process to Microsoft, from a thread of their
own. A box on a wall has not agreed to that, so it is off unless somebody said otherwise.
https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
OpenVINO's converter, which importing OpenVINO imports, counts the imports and reports to Google; it
goes without where its package openvino_telemetry is missing.

This is the one place that writes to the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType

_TIMEOUT, _TELEMETRY = "OPENBLAS_THREAD_TIMEOUT", "ORT_DISABLE_TELEMETRY"
# The least that OpenBLAS takes: an exponent of two, in cycles.
_SHORT = "4"
# For processes that are all ours: the command line, and children.
VARIABLES: Mapping[str, str] = MappingProxyType({_TIMEOUT: _SHORT, _TELEMETRY: "1"})


def import_numpy() -> None:
    """Import numpy that way, unless somebody imported it before or said otherwise.

    OpenBLAS reads the variable when it is loaded; afterwards it is as it was. Where other threads
    run, which may read the environment or start processes, it stays as it is.
    """
    if "numpy" in sys.modules or _TIMEOUT in os.environ:
        return
    threads = sys.modules.get("threading")
    if threads is not None and threads.active_count() > 1:
        return
    os.environ[_TIMEOUT] = _SHORT
    try:
        import numpy  # noqa: F401
    finally:
        os.environ.pop(_TIMEOUT, None)


def keep_onnxruntime_to_itself() -> None:
    """Turn ONNX Runtime's telemetry off for this process, before it is imported."""
    os.environ.setdefault(_TELEMETRY, VARIABLES[_TELEMETRY])


def keep_openvino_to_itself() -> None:
    """Hide the package that reports OpenVINO's use, unless somebody imported it before."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
