"""Read Paddle's programs.

Field numbers: paddle/fluid/framework/framework.proto of https://github.com/PaddlePaddle/Paddle,
the same in 1.x and 2.x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.legacy.files import read_bytes
from edgeinfer_export.sources.legacy.wire import Message

# VarType.Type of tensors, and of what feeds and fetches.
LOD_TENSOR = 7
DTYPES: Mapping[int, str] = {
    0: "?",
    1: "<i2",
    2: "<i4",
    3: "<i8",
    4: "<f2",
    5: "<f4",
    6: "<f8",
    20: "u1",
    21: "i1",
}


@dataclass(frozen=True)
class Variable:
    """A tensor of the program.

    Attributes:
        name: its own.
        dtype: as numpy calls it, None where this reader does not know it.
        shape: -1 where it is open.
        persistable: whether it is a parameter.
    """

    name: str
    dtype: str | None
    shape: tuple[int, ...]
    persistable: bool


@dataclass(frozen=True, eq=False)
class Operator:
    """A step of the program.

    Attributes:
        kind: its type.
        number: its place, from 0.
        inputs: parameter to the names of variables.
        outputs: the same.
        attributes: settings by name.
    """

    kind: str
    number: int
    inputs: Mapping[str, Sequence[str]]
    outputs: Mapping[str, Sequence[str]]
    attributes: Mapping[str, Any]

    @property
    def place(self) -> str:
        """What it is called in error messages."""
        made = next((names[0] for names in self.outputs.values() if names), "")
        return f"operator {self.number} ({self.kind}, which makes '{made}')"


@dataclass(frozen=True, eq=False)
class Program:
    """What a file describes.

    Attributes:
        name: of the file.
        variables: by name.
        operators: in order.
    """

    name: str
    variables: Mapping[str, Variable]
    operators: Sequence[Operator]

    def parameters(self) -> list[Variable]:
        """What the file of parameters holds, in its order."""
        return sorted(
            (item for item in self.variables.values() if item.persistable),
            key=lambda item: item.name,
        )


def read_program(path: Path) -> Program:
    """Read a program.

    Raises:
        ModelFileError: if it is missing, cut off, or no program.
    """
    message = Message(read_bytes(path), path.name)
    blocks = message.messages(1)
    if not blocks or 4 not in blocks[0]:
        raise ModelFileError(f"{path.name} is no program of Paddle: it has no operators.")
    variables = [_variable(item) for item in blocks[0].messages(3)]
    operators = [_operator(n, item) for n, item in enumerate(blocks[0].messages(4))]
    if not any(item.kind == "fetch" for item in operators):
        raise ModelFileError(
            f"{path.name} fetches nothing: it is a training program. Save it for inference, with "
            f"paddle.static.save_inference_model or paddle.jit.save."
        )
    return Program(path.name, {v.name: v for v in variables if v is not None}, operators)


def _variable(message: Message) -> Variable | None:
    kind = message.message(2)
    if kind.integer(1) != LOD_TENSOR:
        return None
    tensor = kind.message(3).message(1)
    return Variable(
        name=message.string(1),
        dtype=DTYPES.get(tensor.integer(1)),
        shape=tuple(tensor.ints(2)),
        persistable=bool(message.integer(3)),
    )


def _operator(number: int, message: Message) -> Operator:
    return Operator(
        kind=message.string(3),
        number=number,
        inputs=_names(message.messages(1)),
        outputs=_names(message.messages(2)),
        attributes={item.string(1): _attribute(item) for item in message.messages(4)},
    )


def _names(messages: Sequence[Message]) -> dict[str, list[str]]:
    return {item.string(1): item.strings(2) for item in messages}


def _attribute(message: Message) -> Any:
    kind = message.integer(2)
    if kind in (0, 9):
        return message.integer(3 if kind == 0 else 13)
    if kind == 1:
        return message.number(4)
    if kind == 2:
        return message.string(5)
    if kind in (3, 11):
        return message.ints(6 if kind == 3 else 15)
    if kind == 4:
        return message.floats(7).tolist()
    if kind == 5:
        return message.strings(8)
    if kind == 6:
        return bool(message.integer(10))
    if kind == 7:
        return [bool(item) for item in message.ints(11)]
    if kind == 12:
        return message.floats(16, double=True).tolist()
    if kind == 15:
        values = message.floats(19, double=True)
        return float(values[-1]) if len(values) else 0.0
    return None


def itemsize(dtype: str) -> int:
    """Bytes of a value."""
    return np.dtype(dtype).itemsize
