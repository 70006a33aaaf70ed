"""Providers that ONNX Runtime has built in, opened so that nothing falls back unseen."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from edgeinfer.errors import EdgeInferError, InputError, ModelFileError, ProviderError
from edgeinfer.packages import need
from edgeinfer.providers import placement
from edgeinfer.providers.base import Binding, Device, Engine, Opening
from edgeinfer.providers.binding import OrtBinding
from edgeinfer.results import Served
from edgeinfer.spec import TensorSpec

_DTYPES = MappingProxyType(
    {
        "tensor(float)": "float32",
        "tensor(float16)": "float16",
        "tensor(double)": "float64",
        "tensor(uint8)": "uint8",
        "tensor(int8)": "int8",
        "tensor(uint16)": "uint16",
        "tensor(int16)": "int16",
        "tensor(uint32)": "uint32",
        "tensor(int32)": "int32",
        "tensor(uint64)": "uint64",
        "tensor(int64)": "int64",
        "tensor(bool)": "bool",
    }
)
_DAMAGED = ("INVALID_PROTOBUF", "Protobuf parsing failed")


@functools.cache
def onnxruntime() -> Any:
    """ONNX Runtime, told to keep its log to itself: its errors are raised, not printed.

    Raises:
        MissingPackageError: if it is not installed.
    """
    ort = need("onnxruntime")
    ort.set_default_logger_severity(4)
    return ort


def runtime_version() -> str:
    """Name and version of the runtime, as results carry it."""
    return f"onnxruntime {onnxruntime().__version__}"


@dataclass(frozen=True)
class OrtProvider:
    """One execution provider of ONNX Runtime.

    Attributes:
        name: ours. `ort_name`: ONNX Runtime's.
        kind: ``cpu``, ``gpu`` or ``npu``.
        option_names: every option that it knows; ONNX Runtime ignores unknown ones silently.
        device_option: the option that chooses the device.
        defaults: options that differ from ONNX Runtime's own defaults.
        remedy: what makes it available.
        auto_skip: why `auto` never takes it unasked, or None.
    """

    name: str
    ort_name: str
    kind: str
    option_names: tuple[str, ...] = ()
    device_option: str | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""
    auto_skip: str | None = None

    def devices(self) -> tuple[Device, ...]:
        """The devices that ONNX Runtime names for it."""
        if self.why_unavailable(None) is not None:
            return ()
        return (Device(self.name, self.kind),)

    def why_unavailable(self, device: str | None) -> str | None:
        """Why it cannot be opened here, as far as can be told without opening it."""
        ort = onnxruntime()
        if self.ort_name not in ort.get_available_providers():
            return f"onnxruntime {ort.__version__} was built without it; {self.remedy}"
        if device is not None and self.device_option is None:
            return f"it has one device only; write '{self.name}' instead of '{self.name}:{device}'"
        return None

    def open(self, opening: Opening) -> Engine:
        """Open a model so that every costly node runs on this provider.

        Raises:
            ModelFileError: if ONNX Runtime cannot read the model.
            ProviderError: if the provider did not start or did not take every costly node.
        """
        ort = onnxruntime()
        options = {**self.defaults, **opening.options}
        if opening.device is not None and self.device_option is not None:
            options[self.device_option] = opening.device
        settings = _session_options(ort, opening)
        names = [self.ort_name] + ([] if self.name == "cpu" else ["CPUExecutionProvider"])
        try:
            session = ort.InferenceSession(
                str(opening.path),
                settings,
                providers=names,
                provider_options=[options, *({} for _ in names[1:])],
                enable_fallback=0,
            )
        except Exception as error:
            raise _opening_error(error, opening, self.name) from error
        with contextlib.ExitStack() as undo:
            undo.callback(_drop_profile, session, settings)
            active = [name for name in session.get_providers() if name != "AzureExecutionProvider"]
            if self.ort_name not in active:
                raise ProviderError(
                    f"The provider '{self.name}' did not start: ONNX Runtime took "
                    f"{', '.join(active)} instead. To make it work: {self.remedy}; to go on "
                    f"without it, give --provider auto."
                )
            engine = OrtEngine(session, self, opening)
            placement.check_contract(self.name, engine.served.placement, opening.max_cpu_nodes)
            return engine


def _session_options(ort: Any, opening: Opening) -> Any:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = opening.threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if opening.spinning else "0"
    )
    # Smaller blocks of work: where a decoder takes a processor for a while, the others go on with
    # what its thread would have done (onnxruntime_session_options_config_keys.h).
    settings.add_session_config_entry("session.dynamic_block_base", "4")
    placement.ask(ort, settings)
    return settings


def _drop_profile(session: Any, settings: Any) -> None:
    if settings.enable_profiling:
        placement.discard_profile(session)


def _opening_error(error: Exception, opening: Opening, provider: str) -> EdgeInferError:
    """Say what ONNX Runtime refused: the file, the graph, or the provider."""
    message = runtime_message(error)
    if any(mark in str(error) for mark in _DAMAGED):
        return ModelFileError(
            f"{opening.path} is not a complete ONNX file ({message}): copy or export it again."
        )
    kind = type(error).__name__
    if kind in ("InvalidGraph", "NotImplemented", "NoSuchFile", "NoModel", "InvalidArgument"):
        return ModelFileError(
            f"ONNX Runtime cannot open {opening.path}: {message}. Export it again for an opset "
            f"and operators that {runtime_version()} knows."
        )
    if provider == "cpu":
        return ModelFileError(f"ONNX Runtime cannot open {opening.path}: {message}.")
    return ProviderError(f"The provider '{provider}' cannot open {opening.path}: {message}.")


def runtime_message(error: BaseException) -> str:
    """The part of ONNX Runtime's message that says something, on one line.

    `[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from a.onnx failed:...` and C++ source
    positions are dropped.
    """
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    marker = ".cc:"
    if marker in text:
        # "/onnxruntime_src/.../graph.cc:4200 void f(...) [ShapeInferenceError] why" keeps the why.
        head, _, tail = text.partition(marker)
        text = head.rpartition(" ")[0] + " " + tail.partition(") ")[2] if ") " in tail else text
    return text.strip().rstrip(".")[:400] or type(error).__name__


class OrtEngine:
    """A session of ONNX Runtime and what it really runs."""

    def __init__(self, session: Any, provider: OrtProvider, opening: Opening) -> None:
        self._session = session
        self._shapes = dict(opening.shapes)
        self.inputs = tuple(_tensor_spec(item) for item in session.get_inputs())
        self.outputs = tuple(_tensor_spec(item) for item in session.get_outputs())
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        where = placement.count(session, self.inputs, self._shapes)
        self.served = Served(
            provider=provider.name,
            provider_impl=runtime_version(),
            device=opening.device or provider.kind,
            compute_precision=placement.precision(where, self.inputs),
            threads=opening.threads,
            requested_provider=provider.name,
            skipped_providers={},
            placement=where,
        )

    def bind(self, shapes: Mapping[str, tuple[int, ...]]) -> Binding:
        """Allocate the buffers of one stream.

        Args:
            shapes: full shapes of the inputs; inputs left out must be static in the file.

        Raises:
            InputError: if an input's shape is not known in full.
        """
        if self._session is None:
            raise InputError("This model is closed.")
        full = {}
        for spec in self.inputs:
            shape = shapes.get(spec.name, self._shapes.get(spec.name, spec.shape))
            if not all(isinstance(size, int) for size in shape):
                raise InputError(
                    f"The input '{spec.name}' leaves its shape open ({list(spec.shape)}): "
                    f"give --input-shape {spec.name}:1x3x640x640, say."
                )
            full[spec.name] = tuple(int(size) for size in shape)
        return OrtBinding(onnxruntime(), self._session, self.inputs, self.outputs, full)

    def close(self) -> None:
        """Let the session go once its bindings are gone."""
        self._session = None


def _tensor_spec(item: Any) -> TensorSpec:
    """ONNX Runtime's description of a tensor; None and negative dimensions get a name."""
    if item.type not in _DTYPES:
        # Sequences, maps and strings: named as they are, refused when a binding needs them.
        return TensorSpec(item.name, item.type, ())
    shape = tuple(
        size if isinstance(size, int) and size >= 0 else str(size or f"dim{index}")
        for index, size in enumerate(item.shape)
    )
    return TensorSpec(item.name, _DTYPES[item.type], shape)
