"""Providers that ONNX Runtime has built in."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from edgeinfer.providers import failures
from edgeinfer.providers.base import Device, Engine, Opening
from edgeinfer.providers.engine import Request, open_engine
from edgeinfer.providers.option_tables import CPU_ENTRIES, CPU_OPTIONS, GRAPH_LEVELS
from edgeinfer.providers.options import Rule
from edgeinfer.providers.ort import add_entry, library_folder, onnxruntime, runtime_version
from edgeinfer.providers.wheels import mixed_up
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class OrtProvider:
    """One execution provider of ONNX Runtime.

    Attributes:
        name: ours. `ort_name`: ONNX Runtime's.
        kind: ``cpu``, ``gpu`` or ``npu``.
        options: every option that it knows; ONNX Runtime ignores unknown ones silently.
        device_option: the option that chooses the device.
        defaults: options that differ from ONNX Runtime's own defaults.
        remedy: what makes it available.
        auto_skip: why `auto` never takes it unasked, or None.
        library: of the provider, in ONNX Runtime's folder; "" where it has none of its own.
        narrowing: option to the precision that it asks for when it is ``1``.
        tuned: sets of options worth measuring besides the defaults.
        memory: ONNX Runtime's name of its memory, "" where buffers stay on the host.
        list_devices: names of its devices, or the reason why there are none.
        list_versions: of the libraries that it depends on.
    """

    name: str
    ort_name: str
    kind: str
    options: Mapping[str, Rule] = field(default_factory=dict)
    device_option: str | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""
    auto_skip: str | None = None
    library: str = ""
    narrowing: Mapping[str, str] = field(default_factory=dict)
    tuned: tuple[Mapping[str, str], ...] = ()
    memory: str = ""
    list_devices: Callable[[], tuple[str, ...] | str] | None = None
    list_versions: Callable[[], Mapping[str, str]] | None = None

    def devices(self) -> tuple[Device, ...]:
        """The devices that it can run on."""
        if self.why_unavailable(None) is not None:
            return ()
        names = self.list_devices() if self.list_devices is not None else ()
        if isinstance(names, str) or not names:
            return (Device(self.name, self.kind),)
        return tuple(Device(f"{self.name}:{name}", self.kind, {"id": name}) for name in names)

    def why_unavailable(self, device: str | None) -> str | None:
        """Why it cannot be opened here, as far as can be told without opening it."""
        ort = onnxruntime()
        if self.ort_name not in ort.get_available_providers():
            return f"onnxruntime {ort.__version__} was built without it; {self.remedy}"
        if device is not None and self.device_option is None:
            return f"it has one device only; write '{self.name}' instead of '{self.name}:{device}'"
        names = self.list_devices() if self.list_devices is not None else ()
        if isinstance(names, str):
            return names
        if device is not None and names and device not in names:
            return f"it has no device '{device}'; there is {', '.join(names)}"
        return None

    def runtime(self) -> str:
        """Name and version of ONNX Runtime."""
        return runtime_version()

    def versions(self) -> Mapping[str, str]:
        """What a measurement on it depends on."""
        own = {"onnxruntime": str(onnxruntime().__version__)}
        return own if self.list_versions is None else {**own, **self.list_versions()}

    def tunable(self, threads: int) -> tuple[Mapping[str, str], ...]:
        """The defaults, and what may be faster."""
        return ({}, *self.tuned)

    def request(self, opening: Opening, extra: Mapping[str, str] | None = None) -> Request:
        """How ONNX Runtime is asked for it.

        Args:
            extra: options of ours besides the defaults.
        """
        options = {**self.defaults, **(extra or {}), **opening.options}
        index = opening.device or "0"
        if opening.device is not None and self.device_option is not None:
            options[self.device_option] = opening.device
        asked = [kind for key, kind in self.narrowing.items() if options.get(key) == "1"]
        return Request(
            name=self.name,
            ort_name=self.ort_name,
            device=opening.device or self.kind,
            remedy=self.remedy,
            options=options,
            narrowed="+".join(asked) or None,
            memory=(self.memory, int(index)) if self.memory else None,
            why_not=self.why_not_started,
        )

    def open(self, opening: Opening) -> Engine:
        """Open a model so that every costly node runs on this provider.

        Raises:
            ModelFileError: if ONNX Runtime cannot read the model.
            ProviderError: if the provider did not start or did not take every costly node.
        """
        return open_engine(opening, self.request(opening))

    def why_not_started(self) -> str | None:
        """The reason that ONNX Runtime only prints: what its provider's library lacks."""
        if self.library:
            path = library_folder() / self.library
            if not path.is_file():
                return mixed_up() or f"its library {self.library} is not in this onnxruntime"
            try:
                ctypes.CDLL(str(path))
            except OSError as error:
                if "providers_shared" not in str(error) and "Provider_GetHost" not in str(error):
                    return failures.explain(str(error)) or str(error)
        return mixed_up()


@dataclass(frozen=True)
class CpuProvider:
    """ONNX Runtime's own CPU provider; its options are entries of the session."""

    options: Mapping[str, Rule]
    name: str = "cpu"

    def devices(self) -> tuple[Device, ...]:
        """The one."""
        return (Device("cpu", "cpu"),)

    def why_unavailable(self, device: str | None) -> str | None:
        """It runs wherever ONNX Runtime does."""
        onnxruntime()
        if device is not None:
            return f"it has one device only; write 'cpu' instead of 'cpu:{device}'"
        return None

    def runtime(self) -> str:
        """Name and version of ONNX Runtime."""
        return runtime_version()

    def versions(self) -> Mapping[str, str]:
        """ONNX Runtime's."""
        return {"onnxruntime": str(onnxruntime().__version__)}

    def tunable(self, threads: int) -> tuple[Mapping[str, str], ...]:
        """The defaults only: threads and spinning are measured apart."""
        return ({},)

    def open(self, opening: Opening) -> Engine:
        """Open a model.

        Raises:
            ModelFileError: if ONNX Runtime cannot read it.
            UsageError: if this ONNX Runtime lacks an option.
        """

        def configure(settings: Any) -> None:
            for option, value in opening.options.items():
                if option == "graph_optimization_level":
                    levels = onnxruntime().GraphOptimizationLevel
                    settings.graph_optimization_level = getattr(levels, GRAPH_LEVELS[value])
                elif option in CPU_ENTRIES:
                    add_entry(settings, option, CPU_ENTRIES[option], value)
                else:
                    setattr(settings, option, value == "1")

        request = Request("cpu", "CPUExecutionProvider", "cpu", "", configure=configure)
        return open_engine(opening, request)


CPU = CpuProvider(CPU_OPTIONS)
