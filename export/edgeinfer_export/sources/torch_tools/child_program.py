"""A program that the child holds: how it is called, and what its inputs and outputs are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeinfer.errors import ModelFileError

# What to do with a program that keeps state.
TAKE_STATE = (
    "Let the module take the state as an input and return the new one, save it again (or give it "
    "with --entry module:callable and --weights), and name the two in a file for --spec, "
    '{"state": {"NEW OUTPUT": "OLD INPUT"}}: edgeinfer then carries it from frame to frame.'
)


def _real(outputs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    import torch

    return [
        (name, torch.view_as_real(item) if item.is_complex() else item) for name, item in outputs
    ]


@dataclass(frozen=True, eq=False)
class Given:
    """One input.

    Attributes:
        example: a tensor that the program takes.
        dims: its shape, with a name for each dimension that shall stay open.
    """

    name: str
    example: Any
    dims: tuple[int | str, ...]


@dataclass(eq=False)
class Program:
    """What was opened.

    Attributes:
        call: tensors in the order of `inputs` to whatever the program gives.
        exported: what the exporters are given; None for `call` wrapped into a module.
        fixed: whether the program itself says which dimensions are open.
        exporters: in the order in which they are tried.
        outputs: names of the tensors in what `call` gives, found by `check`.
    """

    call: Callable[..., Any]
    inputs: tuple[Given, ...]
    module: Any = None
    exported: Any = None
    fixed: bool = False
    exporters: tuple[str, ...] = ("dynamo", "torchscript")
    outputs: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    spec: Mapping[str, Any] | None = None
    sha256: str = ""

    def run(self, tensors: Sequence[Any]) -> list[tuple[str, Any]]:
        """Names and tensors of the outputs; of complex ones the last dimension holds both parts."""
        return _real(self._called(tensors))

    def _called(self, tensors: Sequence[Any]) -> list[tuple[str, Any]]:
        import torch

        with torch.no_grad():
            return named(self.call(*tensors), {item.name for item in self.inputs})

    def check(self) -> None:
        """Run it twice: it must give tensors, and the same ones each time.

        Raises:
            ModelFileError: if it gives none, or its answer depends on more than its inputs.
        """
        import torch

        tensors = [item.example for item in self.inputs]
        given = self._called(tensors)
        self.notes += [
            f"the output '{name}' is complex, which ONNX has no tensors of: its last dimension "
            f"holds the real and the imaginary part"
            for name, item in given
            if item.is_complex()
        ]
        first, second = _real(given), self.run(tensors)
        if not first:
            raise ModelFileError("The program gives no tensor: there is nothing to export.")
        for (name, one), (_, two) in zip(first, second, strict=True):
            same = one.shape == two.shape and torch.allclose(
                one.double(), two.double(), rtol=1e-3, atol=1e-5, equal_nan=True
            )
            if not same:
                raise ModelFileError(
                    f"The output '{name}' differs from call to call on the same inputs: the "
                    f"program keeps state from one call to the next, or draws random numbers, and "
                    f"ONNX holds no state. {TAKE_STATE}"
                )
            if str(one.dtype).removeprefix("torch.") in ("float16", "bfloat16"):
                raise ModelFileError(
                    f"The output '{name}' is {one.dtype}: this version exports FP32 programs only. "
                    f"Export it again from the module in FP32 (model.float())."
                )
        self.outputs = tuple(name for name, _ in first)


def named(value: Any, taken: set[str]) -> list[tuple[str, Any]]:
    """The tensors in nested outputs and names for them, after keys and fields; each is unique."""
    found: list[tuple[str, Any]] = []
    used = set(taken)
    for name, tensor in _leaves(value, ""):
        unique = name or "output"
        while unique in used:
            unique += "_out" if unique in taken else "_"
        used.add(unique)
        found.append((unique, tensor))
    return found


def _leaves(value: Any, prefix: str) -> list[tuple[str, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        return [(prefix, value)]
    if isinstance(value, Mapping):
        parts = [(str(key), item) for key, item in value.items()]
    elif hasattr(value, "_fields"):  # a named tuple
        parts = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (list, tuple)):
        outer = prefix or "output"
        parts = [(str(number), item) for number, item in enumerate(value)]
        if len(parts) == 1:
            return _leaves(parts[0][1], prefix)
        return [leaf for key, item in parts for leaf in _leaves(item, f"{outer}_{key}")]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(item.name, getattr(value, item.name)) for item in dataclasses.fields(value)]
    else:
        return []
    joined = f"{prefix}_" if prefix else ""
    return [leaf for key, item in parts for leaf in _leaves(item, f"{joined}{key}")]


def first_line(error: BaseException) -> str:
    """What an exception says, in one line without colours; PyTorch's summary where it has one."""
    import re

    text = re.sub(r"\x1b\[[\d;]*m", "", str(error))
    _, _, summary = text.partition("## Exception summary")
    lines = [line.strip() for line in (summary or text).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    first = next((line for line in lines if not line.startswith(_NOISE)), lines[-1])
    return f"{type(error).__name__}: {first}"[:400]


_NOISE = ("The following operation failed in the TorchScript", "Traceback of TorchScript", "File ")
