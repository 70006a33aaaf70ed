"""A session of ONNX Runtime, opened so that nothing falls back unseen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from edgeinfer.artifact import QUANTIZED_OPS, file_precision
from edgeinfer.errors import EdgeInferError, InputError, ProviderError
from edgeinfer.providers import optimized, placement, profiling
from edgeinfer.providers.base import Binding, Engine, Keeping, Opening
from edgeinfer.providers.binding import OrtBinding
from edgeinfer.providers.context import Context
from edgeinfer.providers.device_binding import DeviceBinding
from edgeinfer.providers.ort import onnxruntime, opening_error, runtime_version, session_settings
from edgeinfer.records import dataclass
from edgeinfer.results import Placement, Served
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


@dataclass(frozen=True)
class Request:
    """How a session is asked for.

    Attributes:
        name: of our provider. `ort_name`: ONNX Runtime's.
        impl: what results call the implementation.
        device: what results call the device.
        remedy: what makes it available.
        options: for the built-in provider, by ONNX Runtime's names.
        devices: of a plugin; None for a built-in provider.
        narrowed: the precision that options ask for, None for the file's own.
        configure: changes the session settings.
        memory: the device's memory for buffers, name and index; None for the host's.
        why_not: looks for the reason where the provider did not start.
        keeping: how what it compiles is kept, None where it keeps that itself or compiles nothing.
    """

    name: str
    ort_name: str
    device: str
    remedy: str
    impl: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    devices: Sequence[Any] | None = None
    narrowed: str | None = None
    configure: Callable[[Any], None] | None = None
    memory: tuple[str, int] | None = None
    why_not: Callable[[], str | None] | None = None
    keeping: Keeping | None = None


def open_engine(opening: Opening, request: Request) -> Engine:
    """Open a model so that every costly node runs on the provider that is asked for.

    Raises:
        ModelFileError: if ONNX Runtime cannot read the model.
        ProviderError: if the provider did not start or did not take every costly node.
    """
    if request.keeping is None or not opening.sha256:
        return _open(opening, request, opening.path)
    context = Context(
        opening,
        request.name,
        request.keeping,
        request.options,
        lambda: _to_compile(opening, request),
    )
    graph = context.graph()
    if graph is not None:
        try:
            return _open(opening, request, graph)
        except EdgeInferError as error:
            context.drop(str(error))
    engine = _open(opening, request, opening.path)
    if context.refused is not None:
        context.give_up()
    return engine


def _to_compile(opening: Opening, request: Request) -> Any:
    """Session settings that hold the provider.

    Raises:
        Exception: whatever ONNX Runtime raises for the options.
    """
    settings = session_settings(onnxruntime(), opening, record=False)
    if request.devices is not None:
        settings.add_provider_for_devices(list(request.devices), dict(request.options))
    else:
        settings.add_provider(request.ort_name, dict(request.options))
    return settings


def _open(opening: Opening, request: Request, path: Path) -> Engine:
    """Open a file under the contract: the model, or what was compiled from it."""
    engine = _under_contract(opening, request, path)
    recording = profiling.current()
    if recording is not None:
        # A session that tells its placement by a profile cannot record another.
        engine.restart(lambda: _start(opening, request, path, recording).session)
    return engine


def _under_contract(opening: Opening, request: Request, path: Path) -> OrtEngine:
    started = _start(opening, request, path)
    session = started.session
    with contextlib.ExitStack() as undo:
        undo.callback(placement.clear, session, started.settings)
        active = [name for name in session.get_providers() if name != "AzureExecutionProvider"]
        if request.ort_name not in active:
            why = request.why_not() if request.why_not is not None else None
            raise ProviderError(
                f"The provider '{request.name}' did not start: ONNX Runtime took "
                f"{', '.join(active)} instead. {_sentence(why)}To make it work: "
                f"{request.remedy}; to go on without it, give --provider auto."
            )
        stage = None if started.path == opening.path else "optimized"
        engine = OrtEngine(session, request, opening, stage)
        placement.check_contract(request.name, engine.served.placement, opening.max_cpu_nodes)
        return engine


class _Started(NamedTuple):
    """A session, the settings that it was opened with, and the file that it opened."""

    session: Any
    settings: Any
    path: Path


def _start(
    opening: Opening, request: Request, path: Path, recording: profiling.Recording | None = None
) -> _Started:
    """Open a session that tells its placement, or what its nodes take."""
    ort = onnxruntime()
    settings = session_settings(ort, opening, record=recording is None)
    if recording is not None:
        recording.ask(settings)
    if request.configure is not None:
        request.configure(settings)
    if request.name == "cpu":
        path = optimized.graph_for(ort, opening, settings)
    arguments: dict[str, Any] = {}
    if request.devices is None:
        names = [request.ort_name] + ([] if request.name == "cpu" else ["CPUExecutionProvider"])
        arguments["providers"] = names
        arguments["provider_options"] = [dict(request.options), *({} for _ in names[1:])]
    session = None
    try:
        if request.devices is not None:
            settings.add_provider_for_devices(list(request.devices), dict(request.options))
        session = ort.InferenceSession(str(path), settings, enable_fallback=0, **arguments)
    except Exception as error:
        if recording is None:
            placement.clear(session, settings)
        raise opening_error(error, opening, request.name) from error
    if recording is not None:
        recording.opened(session, opening, _our_names(request))
    return _Started(session, settings, path)


def _our_names(request: Request) -> dict[str, str]:
    """ONNX Runtime's name of a provider to ours."""
    return {"CPUExecutionProvider": "cpu", request.ort_name: request.name}


def _sentence(why: str | None) -> str:
    return f"{why[:1].upper()}{why[1:]}. " if why else ""


class OrtEngine:
    """A session of ONNX Runtime and what it really runs."""

    def __init__(
        self, session: Any, request: Request, opening: Opening, stage: str | None = None
    ) -> None:
        self._session = session
        self._memory = request.memory
        self._shapes = dict(opening.shapes)
        self.inputs = tuple(_tensor_spec(item) for item in session.get_inputs())
        # A file may list an output twice.
        outputs = {item.name: _tensor_spec(item) for item in session.get_outputs()}
        self.outputs = tuple(outputs.values())
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        where = placement.count(
            session,
            self.inputs,
            self._shapes,
            _our_names(request),
        )
        if stage is not None:  # the file that was opened is at that stage already
            where = Placement(stage, where.providers)
        self.served = Served(
            provider=request.name,
            provider_impl=request.impl or runtime_version(),
            device=request.device,
            compute_precision=request.narrowed or self._precision(where, opening),
            threads=opening.threads,
            requested_provider=request.name,
            skipped_providers={},
            placement=where,
        )

    def _precision(self, where: Placement, opening: Opening) -> str:
        """The arithmetic that runs, by the nodes where they tell, by the file where not.

        The CPU provider runs what it is given: without a Cast nothing leaves the inputs' types.
        """
        ops = set(where.providers.get("cpu", {}))
        half = any(spec.dtype == "float16" for spec in self.inputs)
        if list(where.providers) == ["cpu"] and ops and not half:
            if ops & QUANTIZED_OPS:
                return "int8"
            if not any("Cast" in op for op in ops):
                return "fp32"
        return file_precision(opening.path, opening.sha256)

    def bind(self, shapes: Mapping[str, tuple[int, ...]]) -> Binding:
        """Allocate the buffers of one stream.

        Args:
            shapes: full shapes of the inputs; inputs left out must be static in the file.

        Raises:
            InputError: if an input's shape is not known in full.
        """
        if self._session is None:
            raise InputError("This model is closed.")
        full = full_shapes(self.inputs, {**self._shapes, **shapes})
        if self._memory is not None:
            return DeviceBinding(
                onnxruntime(), self._session, self.inputs, self.outputs, full, self._memory
            )
        return OrtBinding(onnxruntime(), self._session, self.inputs, self.outputs, full)

    def restart(self, start: Callable[[], Any]) -> None:
        """Open another session of the same in place of its own, before anything is bound."""
        self._session = None
        self._session = start()

    def close(self) -> None:
        """Let the session go once its bindings are gone."""
        self._session = None


def full_shapes(
    inputs: tuple[TensorSpec, ...], given: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Every input's shape in numbers.

    Raises:
        InputError: if an input's shape is not known in full.
    """
    full = {}
    for spec in inputs:
        shape = given.get(spec.name, spec.shape)
        if not all(isinstance(size, int) for size in shape):
            raise InputError(
                f"The input '{spec.name}' leaves its shape open ({list(spec.shape)}): "
                f"give --input-shape {spec.name}:1x3x640x640, say."
            )
        full[spec.name] = tuple(int(size) for size in shape)
    return full


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
