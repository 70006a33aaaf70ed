"""Plugin providers: wheels that ONNX Runtime loads as libraries, each one entry of a table.

A plugin is registered once per process and never let go, and only after a child process has
loaded it and seen its devices: a library that does not load, or crashes, is a reason there and not
the end of this process. See https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from edgeinfer import cache
from edgeinfer.errors import ProviderError
from edgeinfer.providers import failures
from edgeinfer.providers.options import Rule
from edgeinfer.providers.ort import onnxruntime, runtime_message
from edgeinfer.records import dataclass

_CHILD = Path(__file__).with_name("plugin_child.py")
_TIMEOUT_S = 60.0
_lock = threading.Lock()
# This process's own verdicts and registrations, by module.
_verdicts: dict[str, str | None] = {}
_registered: dict[str, str] = {}


@dataclass(frozen=True)
class Plugin:
    """One wheel with a plugin provider.

    Attributes:
        name: ours, which `--provider` takes.
        module: the wheel's import name; it has `get_library_path()` and `get_ep_name()`.
        distribution: what pip installs.
        kinds: of devices that are worth running on, ``cpu``, ``gpu``, ``npu``; ONNX Runtime shows
            some plugins a CPU on which they only simulate.
        options: what each may hold.
        defaults: options that differ from the plugin's own defaults.
        needs: what the box must have, for the remedy.
        keeps: whether what it compiles is kept at once; else only what is built ahead is.
        slow: whether compiling takes minutes.
    """

    name: str
    module: str
    distribution: str
    kinds: tuple[str, ...]
    options: Mapping[str, Rule] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    keeps: bool = False
    slow: bool = False

    @property
    def installed(self) -> bool:
        """Whether the wheel is there; nothing is imported."""
        return _package(self.module) is not None


def _package(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def examined(plugin: Plugin) -> str | None:
    """Why a plugin cannot be registered in this process, found out by a child; None if it can.

    What a child saw to work is remembered by the wheel's files and ONNX Runtime's version; what
    did not work is tried again in the next process, since a driver may have come meanwhile.
    """
    with _lock:
        if plugin.module not in _verdicts:
            _verdicts[plugin.module] = _examine(plugin)
        return _verdicts[plugin.module]


def _examine(plugin: Plugin) -> str | None:
    folder = _package(plugin.module)
    if folder is None:
        return f"{plugin.distribution} is not installed; pip install {plugin.distribution}"
    ort = onnxruntime()
    if not hasattr(ort, "register_execution_provider_library"):
        return f"onnxruntime {ort.__version__} takes no plugins; install 1.23 or newer"
    key = cache.key_of(ort.__version__, *_files(folder))
    if cache.recall("plugins", key) is not None:
        return None
    from edgeinfer.child import Child

    finished = Child(str(_CHILD), [plugin.module]).wait(_TIMEOUT_S)
    if finished.returncode is None:
        return f"loading its library takes longer than {_TIMEOUT_S:.0f} s; install it again"
    if finished.returncode < 0:
        import signal

        name = signal.Signals(-finished.returncode).name
        return f"loading its library kills the process ({name}); install another version of it"
    try:
        answer = json.loads(finished.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = finished.stderr.strip().splitlines()
        return f"loading its library ends the process ({lines[-1] if lines else 'no message'})"
    if answer["error"] is not None:
        said = str(answer["error"])
        if str(folder) in said and "No such file" in said:
            return f"its wheel is incomplete ({said}); install {plugin.distribution} again"
        return f"its library does not load: {failures.explain(said) or said}"
    cache.note("plugins", key, {"devices": answer["devices"]})
    return None


def _files(folder: Path) -> list[str]:
    found = []
    for path in sorted([folder / "__init__.py", *folder.glob("*.so*")]):
        status = path.stat()
        found.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return found


def register(plugin: Plugin) -> str:
    """Register a plugin with ONNX Runtime, once.

    Returns:
        ONNX Runtime's name of the provider.

    Raises:
        ProviderError: if its library does not load.
    """
    reason = examined(plugin)
    if reason is not None:
        raise ProviderError(f"The provider '{plugin.name}' cannot run here: {reason}.")
    with _lock:
        if plugin.module not in _registered:
            wheel = importlib.import_module(plugin.module)
            name = str(wheel.get_ep_name())
            try:
                onnxruntime().register_execution_provider_library(name, wheel.get_library_path())
            except Exception as error:
                said = runtime_message(error)
                raise ProviderError(
                    f"The provider '{plugin.name}' cannot run here: its library does not load: "
                    f"{failures.explain(said) or said}."
                ) from error
            _registered[plugin.module] = name
        return _registered[plugin.module]
