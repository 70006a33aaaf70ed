"""Prove each provider by a tiny model in a child process: a crash there is an answer."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgeinfer.child import Child
from edgeinfer.errors import EdgeInferError
from edgeinfer.providers.base import Opening
from edgeinfer.providers.ort import runtime_version
from edgeinfer.providers.table import PROVIDERS

_TIMEOUT_S = 120.0
_TINY = """
<ir_version: 8, opset_import: ["" : 13]>
probe (float[1, 4] x) => (float[1, 4] y)
<float[4, 4] w = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}>
{ y = MatMul(x, w) }
"""


def probe_all() -> list[dict[str, Any]]:
    """Every provider: `name`, `available`, `reason`, `version`, `devices`.

    Raises:
        MissingPackageError: if ONNX Runtime is not installed.
    """
    version = runtime_version()
    found = []
    for name, provider in PROVIDERS.items():
        reason = provider.why_unavailable(None) or _why_not_running(name)
        devices = [device.name for device in provider.devices()] if reason is None else []
        found.append(
            {
                "name": name,
                "available": reason is None,
                "reason": reason,
                "version": version if reason is None else None,
                "devices": devices,
            }
        )
    return found


def _why_not_running(name: str) -> str | None:
    finished = Child("edgeinfer.providers.probe", [name]).wait(_TIMEOUT_S)
    if finished.returncode is None:
        return f"running a tiny model on it took longer than {_TIMEOUT_S:.0f} s"
    if finished.returncode < 0:
        return f"running a tiny model on it kills the process ({_signal(finished.returncode)})"
    try:
        answer = json.loads(finished.stdout)
    except ValueError:
        lines = finished.stderr.strip().splitlines()
        return f"running a tiny model on it failed: {lines[-1] if lines else 'no message'}"
    reason = answer["reason"]
    return None if reason is None else str(reason)


def _signal(code: int) -> str:
    return signal.Signals(-code).name


def main() -> None:
    """The child: open and run the tiny model under the provider contract."""
    import onnx.parser

    reason = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(onnx.parser.parse_model(_TINY).SerializeToString())
        try:
            engine = PROVIDERS[sys.argv[1]].open(Opening(path, threads=1))
            binding = engine.bind({})
            binding.inputs["x"][:] = 2.0
            if not (binding.run()["y"] == 2.0).all():
                reason = "it computes a tiny model wrongly"
        except EdgeInferError as error:
            reason = str(error)
    sys.stdout.write(json.dumps({"reason": reason}))


if __name__ == "__main__":
    main()
