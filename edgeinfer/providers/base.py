"""What a provider is to the rest of edgeinfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Protocol

from edgeinfer.frames import Array, Arrays
from edgeinfer.providers.options import Rule
from edgeinfer.records import dataclass
from edgeinfer.results import Served
from edgeinfer.spec import TensorSpec


@dataclass(frozen=True)
class Device:
    """One device of a provider."""

    name: str
    kind: str
    key: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Opening:
    """What to open and how.

    Attributes:
        path: the ONNX file.
        threads: for the operators of this session.
        spinning: whether idle threads of the pool wait busily.
        device: which of the provider's devices; None for its first.
        options: the provider's own, by key.
        shapes: full shapes of inputs whose file leaves dimensions open.
        max_cpu_nodes: how many nodes may land on the CPU provider, shape arithmetic not counted.
        sha256: of the file's content, its external data included; "" means that nothing which is
            compiled from it is kept.
        build: whether an artefact that takes minutes (a TensorRT engine) may be built; else it
            comes from the cache, or opening is refused.
        lanes: how many bindings run at once, each with `threads` to itself; runtimes that would
            else let them wait for each other prepare for it.
    """

    path: Path
    threads: int
    spinning: bool = True
    device: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    max_cpu_nodes: int | None = None
    sha256: str = ""
    build: bool = True
    lanes: int = 1


@dataclass(frozen=True)
class Keeping:
    """How what a provider compiles is kept as EPContext.

    Attributes:
        at_once: whether the first opening keeps it; else only what is built ahead is kept, because
            compiling takes little longer than opening what was compiled.
        slow: whether compiling takes minutes.
        device: what tells its device from others. versions: of everything that it depends on.
    """

    at_once: bool
    slow: bool = False
    device: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


class Binding(Protocol):
    """The buffers of one stream."""

    @property
    def inputs(self) -> Arrays:
        """Buffers to write into, one per input, reused for every run."""
        ...

    def rebind(self, feed: Arrays) -> None:
        """Take arrays as they are, of another shape than before where the model allows it."""
        ...

    def run(self) -> Arrays:
        """Compute; the outputs are views that hold until the next run."""
        ...

    def transfers_ns(self) -> tuple[int | None, int | None]:
        """What copying to and from the device took in the last run; None where nothing is copied.

        Both lie inside `run`.
        """
        ...

    def interrupt(self) -> None:
        """Make a run that is under way fail; any thread may call it."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """An opened model on one provider."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    @property
    def served(self) -> Served: ...

    def bind(self, shapes: Mapping[str, tuple[int, ...]]) -> Binding: ...

    def close(self) -> None: ...


class Provider(Protocol):
    """Something that can run models.

    Beside the five that open a model, `runtime`, `versions` and `tunable` say what a measurement
    or a compiled artefact depends on, and what is worth measuring.
    """

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> Mapping[str, Rule]:
        """Every option that it takes, and what each may hold."""
        ...

    def devices(self) -> tuple[Device, ...]: ...

    def why_unavailable(self, device: str | None) -> str | None: ...

    def open(self, opening: Opening) -> Engine: ...

    def runtime(self) -> str:
        """Implementation and version that will open a file: ``onnxruntime 1.31.1``.

        Raises:
            MissingPackageError: if it is not installed.
        """
        ...

    def versions(self) -> Mapping[str, str]:
        """Name to version of everything that a measurement or a compiled artefact depends on."""
        ...

    def tunable(self, threads: int) -> tuple[Mapping[str, str], ...]:
        """Sets of options worth measuring on this box, the defaults (``{}``) first."""
        ...


def check_inputs(specs: tuple[TensorSpec, ...], feed: Mapping[str, Array]) -> None:
    """Check names, shapes and types before the runtime sees them.

    Raises:
        InputError: naming the input, what it takes and what it was given.
    """
    from edgeinfer.errors import InputError, suggest

    names = [spec.name for spec in specs]
    for name in feed:
        if name not in names:
            raise InputError(f"The model has no input '{name}'. {suggest(name, names)}")
    for spec in specs:
        if spec.name not in feed:
            raise InputError(f"The input '{spec.name}' is missing. Given: {', '.join(feed)}.")
        array = feed[spec.name]
        if str(array.dtype) != spec.dtype:
            raise InputError(
                f"The input '{spec.name}' takes {spec.dtype}, not {array.dtype}: "
                f"convert it with .astype('{spec.dtype}')."
            )
        fits = len(array.shape) == len(spec.shape) and all(
            isinstance(want, str) or want == have
            for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"The input '{spec.name}' takes the shape {list(spec.shape)}, "
                f"not {list(array.shape)}."
            )
