"""Tensors that a module takes, from the shapes that the user gives."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeinfer.errors import UsageError, suggest
from edgeinfer_export.sources.torch_tools.child_program import Given, first_line

# Sizes for dimensions that stay open: pictures first, then sequences; the first that runs is taken.
_PICTURE_SIZES = (64, 224, 32, 320, 640)
_OTHER_SIZES = (16, 512, 4, 16000)
_BATCH = 2
# What text models call their inputs (the names of transformers and of torchtext).
_WHOLE = ("ids", "input_ids", "token_type_ids", "position_ids", "attention_mask", "tokens", "words")


@dataclass(frozen=True)
class Parameter:
    """One argument of a program.

    Attributes:
        needed: whether it has no default.
        kind: its type where that is no tensor, as the program says it; None otherwise.
    """

    name: str
    needed: bool
    kind: str | None = None


def parameters_of(module: Any) -> tuple[Parameter, ...]:
    """The arguments of a module's forward."""
    found = []
    for item in inspect.signature(module.forward).parameters.values():
        if item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL):
            continue
        plain = item.annotation in (int, float, bool, str) or item.annotation in (
            "int",
            "float",
            "bool",
            "str",
        )
        kind = getattr(item.annotation, "__name__", str(item.annotation)) if plain else None
        found.append(Parameter(item.name, item.default is item.empty, kind))
    return tuple(found)


def find_inputs(
    parameters: Sequence[Parameter],
    shapes: Mapping[str, Sequence[int | str]],
    runs: Callable[[Sequence[Given]], None],
) -> tuple[Given, ...]:
    """The inputs of the given shapes, of sizes and types that the program takes.

    Args:
        parameters: what it is called with.
        shapes: what the user said.
        runs: calls it on inputs; raises whatever it raises.

    Raises:
        UsageError: if shapes are missing, name nothing, or do not fit.
    """
    names = [item.name for item in parameters]
    for name in shapes:
        if name not in names:
            raise UsageError(f"The program has no input '{name}'. {suggest(name, names)}")
    missing = [item for item in parameters if item.needed and item.name not in shapes]
    if missing or not shapes:
        raise _missing(parameters, missing)
    ordered = [(name, tuple(shapes[name])) for name in names if name in shapes]
    first: BaseException | None = None
    for inputs in _candidates(ordered):
        error = _why_not(runs, inputs)
        if error is None:
            return tuple(inputs)
        first = first or error
    assert first is not None
    shown = ", ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in ordered)
    raise UsageError(
        f"The program does not run on inputs of the shape {shown} ({first_line(first)}). Give the "
        f"shapes that it takes: --input-shape NAME:1x3x224x224."
    ) from first


def _why_not(runs: Callable[[Sequence[Given]], None], inputs: Sequence[Given]) -> Exception | None:
    try:
        runs(inputs)
    except Exception as error:
        return error
    return None


def _missing(parameters: Sequence[Parameter], missing: Sequence[Parameter]) -> UsageError:
    odd = [item for item in missing if item.kind is not None]
    if odd:
        listed = ", ".join(f"{item.name} ({item.kind})" for item in odd)
        return UsageError(
            f"The program takes arguments that are no tensors and have no default: {listed}. Give "
            f"a function whose module fixes them: --entry module:callable."
        )
    wanted = missing or parameters[:1]
    if not wanted:
        return UsageError("The program takes no inputs: there is nothing to export.")
    example = " ".join(f"--input-shape {item.name}:{_example(item.name)}" for item in wanted)
    return UsageError(
        f"The program does not say which shapes it takes. Its inputs: "
        f"{', '.join(item.name for item in parameters)}. Give them, for example: {example} (a word "
        f"in place of a number keeps that dimension open: batchx3x224x224)."
    )


def _example(name: str) -> str:
    return "1x16" if _is_whole(name) else "1x3x224x224"


def _is_whole(name: str) -> bool:
    return name in _WHOLE or name.endswith("_ids")


def _candidates(ordered: Sequence[tuple[str, tuple[int | str, ...]]]) -> Iterator[list[Given]]:
    import torch

    picture = any(len(shape) == 4 for _, shape in ordered)
    sizes: Sequence[int] = _PICTURE_SIZES if picture else _OTHER_SIZES
    if not any(isinstance(size, str) for _, shape in ordered for size in shape[1:]):
        sizes = sizes[:1]
    guessed = tuple(torch.int64 if _is_whole(name) else torch.float32 for name, _ in ordered)
    other = itertools.product((torch.float32, torch.int64), repeat=min(len(ordered), 4))
    kinds = [guessed, *(kind for kind in other if kind != guessed and len(kind) == len(guessed))]
    for types, size in itertools.product(kinds, sizes):
        yield [
            Given(name, example_tensor(_numbers(shape, size), kind), shape)
            for (name, shape), kind in zip(ordered, types, strict=True)
        ]


def _numbers(shape: tuple[int | str, ...], size: int) -> tuple[int, ...]:
    """Sizes for the words of a shape."""
    return tuple(
        item if isinstance(item, int) else _BATCH if axis == 0 else size
        for axis, item in enumerate(shape)
    )


def example_tensor(shape: Sequence[int], dtype: Any) -> Any:
    """Noise for floats, ones for whole numbers (a valid index and a full mask)."""
    import torch

    if dtype.is_floating_point:
        return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.ones(tuple(shape), dtype=dtype)
