"""A plugin wheel as a provider: its devices by name, its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer.errors import ProviderError
from edgeinfer.providers.base import Device, Engine, Keeping, Opening
from edgeinfer.providers.engine import Request, open_engine
from edgeinfer.providers.options import Rule
from edgeinfer.providers.ort import onnxruntime, runtime_version
from edgeinfer.providers.plugins import Plugin, examined, register
from edgeinfer.providers.wheels import mixed_up, version_of
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class PluginProvider:
    """One plugin wheel as a provider."""

    plugin: Plugin

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def options(self) -> Mapping[str, Rule]:
        return self.plugin.options

    @property
    def installed(self) -> bool:
        """Whether `auto` has anything to say about it."""
        return self.plugin.installed

    def found(self) -> dict[str, Any]:
        """ONNX Runtime's devices by our names: ``GPU``, or ``GPU.0`` where there are several.

        Raises:
            ProviderError: if its library does not load.
        """
        ep_name = register(self.plugin)
        by_kind: dict[str, list[Any]] = {}
        for device in onnxruntime().get_ep_devices():
            kind = device.device.type.name.lower()
            if device.ep_name == ep_name and kind in self.plugin.kinds:
                by_kind.setdefault(kind.upper(), []).append(device)
        return {
            kind if len(same) == 1 else f"{kind}.{index}": device
            for kind, same in by_kind.items()
            for index, device in enumerate(same)
        }

    def devices(self) -> tuple[Device, ...]:
        """The devices that it can run on."""
        if self.why_unavailable(None) is not None:
            return ()
        return tuple(
            Device(f"{self.name}:{name}", name.partition(".")[0].lower(), {"id": name})
            for name in self.found()
        )

    def why_unavailable(self, device: str | None) -> str | None:
        """Why it cannot be opened here; a child loads it the first time."""
        reason = examined(self.plugin)
        if reason is not None:
            return reason
        try:
            found = self.found()
        except ProviderError as error:
            return str(error)
        if not found:
            return f"it finds no device on this box; {self.plugin.needs}"
        if device is not None and self.pick(device, found) is None:
            return f"it has no device '{device}'; there is {', '.join(found)}"
        return None

    def pick(self, device: str | None, found: Mapping[str, Any]) -> str | None:
        """The name of the device that is meant: ``GPU``, ``GPU.1``, or a number."""
        names = list(found)
        if device is None:
            return names[0]
        if device.isdigit():
            return names[int(device)] if int(device) < len(names) else None
        wanted = device.upper()
        return next((name for name in names if wanted in (name, name.partition(".")[0])), None)

    def runtime(self) -> str:
        """ONNX Runtime and the wheel."""
        version = version_of(self.plugin.distribution) or "unknown"
        return f"{runtime_version()} with {self.plugin.distribution} {version}"

    def versions(self) -> Mapping[str, str]:
        """ONNX Runtime's and the wheel's."""
        return {
            "onnxruntime": str(onnxruntime().__version__),
            self.plugin.distribution: version_of(self.plugin.distribution) or "unknown",
        }

    def tunable(self, threads: int) -> tuple[Mapping[str, str], ...]:
        """The defaults only."""
        return ({},)

    def open(self, opening: Opening) -> Engine:
        """Open a model so that every costly node runs on this provider.

        Raises:
            ModelFileError: if ONNX Runtime cannot read the model.
            ProviderError: if the provider does not run here or not this model.
        """
        return self.open_with(opening, {**self.plugin.defaults, **opening.options}, None)

    def open_with(
        self, opening: Opening, options: Mapping[str, str], narrowed: str | None
    ) -> Engine:
        """Open with these options and no others; see `open`."""
        found = self.found()
        name = self.pick(opening.device, found) if found else None
        if name is None:
            raise ProviderError(
                f"The provider '{self.name}' cannot run here: "
                f"{self.why_unavailable(opening.device)}."
            )
        request = Request(
            name=self.name,
            ort_name=register(self.plugin),
            device=name,
            remedy=self.plugin.needs,
            impl=self.runtime(),
            options=options,
            devices=[found[name]],
            narrowed=narrowed,
            why_not=mixed_up,
            keeping=self._keeping(name, found[name]),
        )
        return open_engine(opening, request)

    def _keeping(self, name: str, device: Any) -> Keeping:
        """How what it compiles for one of ONNX Runtime's devices is kept."""
        hardware = device.device
        told = {
            "name": name,
            "vendor": str(hardware.vendor),
            "id": f"{hardware.vendor_id} {hardware.device_id}",
            **{f"metadata {key}": value for key, value in sorted(hardware.metadata.items())},
            **{f"provider {key}": value for key, value in sorted(device.ep_metadata.items())},
        }
        told.pop("provider library_path", None)
        return Keeping(self.plugin.keeps, self.plugin.slow, told, self.versions())
