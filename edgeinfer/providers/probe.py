"""Prove each provider by a tiny model in a child process: a crash there is an answer.

Everything about a provider is asked there, its libraries are never loaded in this process.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgeinfer import scratch
from edgeinfer.child import Child
from edgeinfer.errors import EdgeInferError, MissingPackageError
from edgeinfer.machine import usable_cpus
from edgeinfer.providers.base import Opening, Provider
from edgeinfer.providers.ort import onnxruntime
from edgeinfer.providers.table import PROVIDERS

_TIMEOUT_S = 120.0
# A convolution and a matrix product: on a GPU they stand on libraries of their own. All numbers
# are whole and below 256, so that every float type holds them.
_TINY = """
<ir_version: 8, opset_import: ["" : 13]>
probe (float[1, 1, 4, 4] x) => (float[1, 2, 2, 2] y)
<float[2, 1, 3, 3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2},
 float[2, 2] swap = {0, 1, 1, 0}>
{ sums = Conv(x, w)
  y = MatMul(sums, swap) }
"""
_EXPECTED = (54, 45, 90, 81, 108, 90, 180, 162)
# What runtimes print beside the answer goes before it.
_MARK = "\nedgeinfer-probe:"
# A child that dies on the way leaves these.
_UNTOLD: Mapping[str, Any] = MappingProxyType(
    {"installed": True, "started": True, "version": None, "versions": {}, "devices": []}
)


def probe_all() -> list[dict[str, Any]]:
    """Ask and prove every provider, each in a child of its own, a few at a time.

    Returns:
        For each: `name`; `available`: it ran a tiny model, all of it, and computed right; `reason`
        and remedy where not; `installed`: whether there is anything that could run it; `started`:
        whether it said that it can and was tried; `version` of what opens models; `versions` of
        everything that results depend on; `devices`.
    """
    started: list[Child] = []
    over = threading.Event()
    with ThreadPoolExecutor(max_workers=min(4, usable_cpus())) as pool:
        try:
            return list(pool.map(lambda name: _probe(name, started, over), PROVIDERS))
        except BaseException:  # Ctrl-C does not wait for a driver that hangs
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for child in started:
                child.kill()
            raise


def _probe(name: str, started: list[Child], over: threading.Event) -> dict[str, Any]:
    child = Child("edgeinfer.providers.probe", [name])
    started.append(child)
    if over.is_set():  # it was not yet among those that were ended
        child.kill()
    finished = child.wait(_TIMEOUT_S)
    answer: dict[str, Any] = dict(_UNTOLD)
    lines = finished.stdout.decode(errors="replace").split(_MARK)[1:]
    for line in lines:
        answer |= json.loads(line.partition("\n")[0])
    if finished.returncode is None:
        reason: str | None = (
            f"running a tiny model on it took longer than {_TIMEOUT_S:.0f} s; see whether its "
            f"device is in use or hangs"
        )
    elif finished.returncode < 0:
        reason = (
            f"running a tiny model on it kills the process "
            f"({signal.Signals(-finished.returncode).name}); 'edgeinfer doctor' looks for mixed "
            f"wheels and libraries"
        )
    elif "reason" not in answer:
        said = finished.stderr.strip().splitlines()
        reason = f"running a tiny model on it failed: {said[-1] if said else 'no message'}"
    else:
        reason = answer["reason"]
    told = {key: answer[key] for key in _UNTOLD}
    return {"name": name, "available": reason is None, "reason": reason} | told


def main() -> None:
    """The child: say what the provider is, then open and run the tiny model on it."""
    for part in _answers(sys.argv[1]):
        sys.stdout.write(_MARK + json.dumps(part) + "\n")
        sys.stdout.flush()


def _answers(name: str) -> Iterator[dict[str, Any]]:
    """What is known of a provider, step by step: a crash then costs the later steps only."""
    provider = PROVIDERS[name]
    try:
        reason = provider.why_unavailable(None)
        if reason is not None:
            yield {"installed": _installed(provider), "started": False, "reason": reason}
            return
        yield {"version": provider.runtime(), "versions": dict(provider.versions())}
        yield {"devices": [device.name for device in provider.devices()]}
        yield {"reason": _why_wrong(name)}
    except MissingPackageError as error:
        yield {"installed": False, "started": False, "reason": str(error)}
    except EdgeInferError as error:
        yield {"reason": str(error)}


def _installed(provider: Provider) -> bool:
    """Whether there is anything that could run it: a wheel of its own, or a built-in provider."""
    own = getattr(provider, "installed", None)
    if own is not None:
        return bool(own)
    return getattr(provider, "ort_name", None) in onnxruntime().get_available_providers()


def _why_wrong(name: str) -> str | None:
    """Open the tiny model under the provider contract, run it, and check the numbers."""
    import numpy as np
    import onnx.parser

    with scratch.folder("edgeinfer-probe-") as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(onnx.parser.parse_model(_TINY).SerializeToString())
        engine = PROVIDERS[name].open(Opening(path, threads=1))
        binding = engine.bind({})
        binding.inputs["x"][:] = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        found = binding.run()["y"].ravel().tolist()
        binding.close()
        engine.close()
    if not np.allclose(found, _EXPECTED, rtol=0.01):
        return f"it computes a tiny model wrongly: {found} in place of {list(_EXPECTED)}"
    return None


if __name__ == "__main__":
    main()
