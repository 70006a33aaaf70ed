"""OpenVINO, by whatever serves it here: built into ONNX Runtime, a plugin wheel, or its own wheel.

The options are OpenVINO's properties for all three. It computes in the file's own precision unless
told otherwise (its own default is bf16 where the processor has it) and minds latency.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from edgeinfer import compiled
from edgeinfer.artifact import file_precision
from edgeinfer.errors import MissingPackageError, ProviderError
from edgeinfer.machine import this_machine
from edgeinfer.providers import openvino_runtime, optimized
from edgeinfer.providers.base import Device, Engine, Keeping, Opening
from edgeinfer.providers.builtin import OrtProvider
from edgeinfer.providers.engine import open_engine
from edgeinfer.providers.openvino_properties import compute_precision, properties
from edgeinfer.providers.option_tables import OPENVINO
from edgeinfer.providers.options import Rule
from edgeinfer.providers.ort import library_folder, onnxruntime
from edgeinfer.providers.plugin_provider import PluginProvider
from edgeinfer.providers.plugins import Plugin
from edgeinfer.providers.wheels import version_of
from edgeinfer.records import dataclass

_REMEDY = "pip install openvino beside stock onnxruntime, or onnxruntime-openvino in place of it"
_BUILT_IN = OrtProvider(
    name="openvino",
    ort_name="OpenVINOExecutionProvider",
    kind="cpu",
    remedy=_REMEDY,
    library="libonnxruntime_providers_openvino.so",
)
_PLUGIN = PluginProvider(
    Plugin(
        name="openvino",
        module="onnxruntime_ep_openvino",
        distribution="onnxruntime-ep-openvino",
        kinds=("cpu", "gpu", "npu"),
        needs="it needs an Intel processor: on others pip install openvino",
    )
)


@dataclass(frozen=True)
class OpenVinoProvider:
    """OpenVINO as one provider."""

    name: str = "openvino"

    @property
    def options(self) -> Mapping[str, Rule]:
        return OPENVINO

    def server(self) -> str:
        """Which implementation serves it: ``builtin``, ``plugin``, ``runtime``, or "" for none."""
        if _has_builtin():
            return "builtin"
        # A plugin that runs is preferred; one that does not is in nobody's way.
        if _PLUGIN.installed and _PLUGIN.why_unavailable(None) is None:
            return "plugin"
        if openvino_runtime.installed():
            return "runtime"
        return "plugin" if _PLUGIN.installed else ""

    def devices(self) -> tuple[Device, ...]:
        """The devices that it can run on."""
        return tuple(
            Device(f"openvino:{name}", name.partition(".")[0].lower(), {"id": name})
            for name in self._device_names()
        )

    def _device_names(self) -> tuple[str, ...]:
        server = self.server()
        if server == "runtime":
            return openvino_runtime.device_names()
        if server == "plugin":
            return tuple(_PLUGIN.found()) if _PLUGIN.why_unavailable(None) is None else ()
        if server == "builtin":
            from onnxruntime.capi import _pybind_state as state

            ask = getattr(state, "get_available_openvino_device_ids", None)
            return ("CPU",) if ask is None else tuple(str(name) for name in ask())
        return ()

    def why_unavailable(self, device: str | None) -> str | None:
        """Why it cannot be opened here, as far as can be told without opening it."""
        server = self.server()
        if server == "":
            return f"neither onnxruntime nor any other wheel here brings OpenVINO; {_REMEDY}"
        if server == "plugin":
            return _PLUGIN.why_unavailable(device)
        if device is None:
            return None
        names = self._device_names()
        if _named(device, names) is None:
            return f"it has no device '{device}'; there is {', '.join(names) or 'none'}"
        return None

    def runtime(self) -> str:
        """Implementation and version that will open a file.

        Raises:
            MissingPackageError: if nothing here serves OpenVINO.
        """
        server = self.server()
        if server == "builtin":
            return f"onnxruntime-openvino {onnxruntime().__version__}"
        if server == "plugin":
            return _PLUGIN.runtime()
        if server == "runtime":
            return f"openvino {openvino_runtime.version()}"
        raise MissingPackageError(f"OpenVINO is not installed: {_REMEDY}.")

    def versions(self) -> Mapping[str, str]:
        """OpenVINO's, and ONNX Runtime's where it opens the files."""
        server = self.server()
        if server == "runtime":
            return {"openvino": openvino_runtime.version()}
        if server == "plugin":
            return _PLUGIN.versions()
        built_in = version_of("onnxruntime-openvino") or str(onnxruntime().__version__)
        return {"onnxruntime-openvino": built_in}

    def tunable(self, threads: int) -> tuple[Mapping[str, str], ...]:
        """The defaults, and bf16 where the processor computes in it."""
        features = this_machine().features
        if any(name in features for name in ("avx512_bf16", "amx_bf16", "bf16")):
            return ({}, {"INFERENCE_PRECISION_HINT": "bf16"})
        return ({},)

    def open(self, opening: Opening) -> Engine:
        """Open a model so that every costly node runs on OpenVINO.

        Raises:
            ModelFileError: if the model cannot be read.
            ProviderError: if OpenVINO does not run here, or not this model.
        """
        server = self.server()
        reason = self.why_unavailable(opening.device)
        if reason is not None:
            raise ProviderError(f"The provider 'openvino' cannot run here: {reason}.")
        if server == "runtime":
            return self._open_runtime(opening)
        precision = file_precision(opening.path, opening.sha256)
        names = self._device_names()
        device = _named(opening.device, names) or "CPU"
        asked = properties(opening, device, precision)
        config = json.dumps({device.partition(".")[0]: asked})
        narrowed = compute_precision(_computed(asked, device), precision)
        if server == "plugin":
            return _PLUGIN.open_with(opening, {"load_config": config}, narrowed)
        plain = replace(opening, options={}, device=None)
        request = _BUILT_IN.request(plain, {"device_type": device, "load_config": config})
        return open_engine(
            opening,
            replace(
                request,
                device=device,
                impl=self.runtime(),
                narrowed=narrowed,
                keeping=self._keeping(device),
            ),
        )

    def _keeping(self, device: str) -> Keeping | None:
        """How ONNX Runtime's own provider keeps what it compiles.

        For a processor OpenVINO saves its own representation, and the wheel (1.23.0 and 1.24.1)
        lacks the library that reads it; another wheel's is of another ABI. With OpenVINO's
        CACHE_DIR it is the same: something is saved and never read.
        """
        if device == "CPU" and not any(library_folder().glob("libopenvino_ir_frontend*")):
            if optimized.is_ahead():
                compiled.tell(
                    "onnxruntime-openvino compiles anew at each opening: it lacks the library that "
                    "reads what OpenVINO saves for a processor. The openvino wheel beside stock "
                    "onnxruntime has it"
                )
            return None
        return Keeping(device != "CPU", device={"name": device}, versions=self.versions())

    def _open_runtime(self, opening: Opening) -> Engine:
        device = _named(opening.device, ("CPU",)) or _named(
            opening.device, openvino_runtime.device_names()
        )
        return openvino_runtime.open_engine(opening, device or "CPU")


def _has_builtin() -> bool:
    """The plugin has the same name, so the built-in one is told by its library."""
    listed = _BUILT_IN.ort_name in onnxruntime().get_available_providers()
    return listed and (library_folder() / _BUILT_IN.library).is_file()


def _named(device: str | None, names: tuple[str, ...]) -> str | None:
    """OpenVINO's own spelling of a device: ``GPU`` means ``GPU.0`` where there are several."""
    if device is None:
        return names[0] if names else None
    wanted = device.upper()
    return next(
        (name for name in names if wanted == name or f"{wanted}.0" == name),
        None,
    )


def _computed(asked: Mapping[str, str], device: str) -> str:
    """The type that a hint leads to: processors without FP16 take bf16 where they have that."""
    hint = asked.get("INFERENCE_PRECISION_HINT", "f16")
    if hint == "f16" and device == "CPU" and "avx512_bf16" in this_machine().features:
        return "bf16"
    return hint
