"""OpenVINO's own runtime behind the same interface as a session of ONNX Runtime.

It serves every processor that its wheel is made for, AMD's and ARM's included, beside stock
onnxruntime.
"""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeinfer import compiled, environment
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import InputError, ProviderError
from edgeinfer.machine import this_machine
from edgeinfer.packages import need
from edgeinfer.providers import failures
from edgeinfer.providers.base import Binding, Engine, Opening
from edgeinfer.providers.engine import full_shapes
from edgeinfer.providers.onnx_description import Description, described, merged
from edgeinfer.providers.openvino_binding import OpenVinoBinding
from edgeinfer.providers.openvino_properties import compute_precision, properties
from edgeinfer.providers.vet import OPENVINO, Vetting
from edgeinfer.providers.wheels import version_of
from edgeinfer.results import Placement, Served

_BLOB = "model.blob"
# Layers that compute nothing.
_STILL = ("Const", "Input", "Output")


def installed() -> bool:
    """Whether the wheel is there; nothing is imported."""
    return importlib.util.find_spec("openvino") is not None


def version() -> str:
    """The wheel's version, without importing it."""
    return version_of("openvino") or str(_openvino().__version__)


def _openvino() -> Any:
    environment.keep_openvino_to_itself()
    return need("openvino")


@functools.cache
def core() -> Any:
    """OpenVINO, one for the process.

    Raises:
        MissingPackageError: if it is not installed or does not load.
    """
    return _openvino().Core()


@functools.cache
def device_names() -> tuple[str, ...]:
    """The devices that OpenVINO finds: ``CPU``, ``GPU.0``, ``NPU``."""
    return tuple(core().available_devices)


def message_of(error: BaseException) -> str:
    """What OpenVINO says, on one line."""
    return failures.openvino_message(str(error)) or type(error).__name__


def open_engine(opening: Opening, device: str) -> Engine:
    """Compile a model, or take what was compiled before.

    Raises:
        ModelFileError: if the file is no model.
        ProviderError: if OpenVINO cannot read it, or the device does not run it.
    """
    model = described(opening.path, opening.sha256)
    asked = properties(opening, device, model.precision)
    key = _key(opening, device, asked)
    program = _from_cache(key, device, asked) if opening.sha256 else None
    if program is None:
        program = _compile(opening, device, asked)
        if opening.sha256:
            _keep(program, key)
    return OpenVinoEngine(program, model, opening, device)


def _key(opening: Opening, device: str, asked: Mapping[str, str]) -> dict[str, str]:
    machine = this_machine()
    return {
        "sha256": opening.sha256,
        "device": device,
        "openvino": version(),
        "cpu": machine.cpu,
        "features": " ".join(machine.features),
        **{f"option {name}": value for name, value in asked.items()},
        **{f"shape {name}": str(shape) for name, shape in opening.shapes.items()},
    }


def _from_cache(key: Mapping[str, str], device: str, asked: Mapping[str, str]) -> Any:
    folder = compiled.find("openvino", key)
    if folder is None:
        return None
    try:
        # The properties again: a blob does not hold the precision that it was compiled for.
        return core().import_model((folder / _BLOB).read_bytes(), device, dict(asked))
    except Exception:  # OpenVINO raises RuntimeError, the file system what it likes
        return None


def _keep(program: Any, key: Mapping[str, str]) -> None:
    if "EXPORT_IMPORT" not in _capabilities(key["device"]):
        return

    def build(folder: Path) -> None:
        (folder / _BLOB).write_bytes(program.export_model().getvalue())

    try:
        # Another process that keeps the same is not waited for: ours is compiled already.
        compiled.obtain("openvino", key, build, say=compiled.silent, wait_s=0)
    except RuntimeError:
        return  # this model cannot be exported; it is compiled each time


@functools.cache
def _capabilities(device: str) -> tuple[str, ...]:
    return tuple(str(one) for one in core().get_property(device, "OPTIMIZATION_CAPABILITIES"))


def _vet(opening: Opening) -> None:
    """OpenVINO reads files with code of its own: a file that is safe for another may kill it."""
    vetting = Vetting(open_model_file(opening.path), OPENVINO)
    try:
        vetting.opened(f"openvino {version()}")
        vetting.finish()
    finally:
        vetting.close()


def _compile(opening: Opening, device: str, asked: Mapping[str, str]) -> Any:
    _vet(opening)
    try:
        model = core().read_model(str(opening.path))
        if opening.shapes:
            names = {name for port in model.inputs for name in port.names}
            model.reshape({name: list(s) for name, s in opening.shapes.items() if name in names})
        return core().compile_model(model, device, dict(asked))
    except Exception as error:
        raise _refusal(error, opening) from error


def _refusal(error: Exception, opening: Opening) -> ProviderError:
    why = failures.explain(str(error)) or message_of(error)
    return ProviderError(
        f"The provider 'openvino' cannot open {opening.path}: {why}. Give --provider cpu or auto "
        f"to go on without it."
    )


class OpenVinoEngine:
    """A compiled model and what it runs."""

    def __init__(self, program: Any, model: Description, opening: Opening, device: str) -> None:
        self._program: Any = program
        self._shapes = dict(opening.shapes)
        self.inputs, self.outputs = merged(model, program)
        self.metadata: Mapping[str, str] = model.metadata
        hint = _hint(program)
        self.served = Served(
            provider="openvino",
            provider_impl=f"openvino {version()}",
            device=device,
            compute_precision=compute_precision(hint, model.precision),
            threads=opening.threads,
            requested_provider="openvino",
            skipped_providers={},
            placement=Placement("optimized", {"openvino": _layers(program)}),
        )

    def bind(self, shapes: Mapping[str, tuple[int, ...]]) -> Binding:
        """Allocate the buffers of one stream, with an inference request of its own.

        Args:
            shapes: full shapes of the inputs; inputs left out must be static in the file.

        Raises:
            InputError: if an input's shape is not known in full, or not the one compiled for.
        """
        if self._program is None:
            raise InputError("This model is closed.")
        full = full_shapes(self.inputs, {**self._shapes, **shapes})
        return OpenVinoBinding(self._program, self.inputs, self.outputs, full)

    def close(self) -> None:
        """Let the compiled model go once its bindings are gone."""
        self._program = None


def _hint(program: Any) -> str:
    """OpenVINO's name of the type that a compiled model computes in."""
    try:
        kind = program.get_property("INFERENCE_PRECISION_HINT")
    except RuntimeError:
        return "f16"  # NPUs, which have no such property
    return str(kind.get_type_name())


def _layers(program: Any) -> dict[str, int]:
    """Layer type to count, as executed after fusion."""
    counts: Counter[str] = Counter()
    for node in program.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind = str(_plain(info["layerType"])) if "layerType" in info else node.get_type_name()
        if kind not in _STILL:
            counts[kind] += 1
    return dict(counts)


def _plain(value: Any) -> Any:
    """What one of OpenVINO's boxed values holds."""
    return value.value if hasattr(value, "value") else value
