"""Read Paddle's parameters: all in one file, in the order of their names, or a file for each.

Source: SerializeToStream in paddle/fluid/framework/lod_tensor.cc and tensor_util.cc of
https://github.com/PaddlePaddle/Paddle.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.files import read_bytes
from edgeinfer_export.sources.legacy.wire import Message
from edgeinfer_export.sources.paddle.program import DTYPES, Program, Variable, itemsize

_MAX_LEVELS, _MAX_DESCRIPTION = 16, 4096


def read_combined(path: Path, program: Program) -> dict[str, Array]:
    """All parameters from one file; floating-point ones as float32.

    Raises:
        ModelFileError: if it is missing, cut off, or belongs to another program.
    """
    data = memoryview(read_bytes(path))
    found, place = {}, 0
    for variable in program.parameters():
        found[variable.name], place = _tensor(data, place, path.name, variable)
    if place != len(data):
        raise ModelFileError(
            f"{path.name} has {len(data) - place} bytes more than the {len(found)} parameters of "
            f"{program.name} take: they do not belong together."
        )
    return found


def read_separate(folder: Path, program: Program) -> tuple[dict[str, Array], list[Path]]:
    """Parameters from files that are named after them.

    Returns:
        The parameters, and the files.

    Raises:
        ModelFileError: if one is missing, cut off, or has another shape.
    """
    found, files = {}, []
    for variable in program.parameters():
        path = folder / variable.name
        # A name is what the file says: it must not lead anywhere else.
        if path.parent != folder or not path.is_file():
            raise ModelFileError(
                f"The parameters of {program.name} are not beside it: neither as __params__ or "
                f"{Path(program.name).stem}.pdiparams, nor '{variable.name[:80]}' as a file of its "
                f"own. Put them there, or name their file with --weights."
            )
        data = memoryview(read_bytes(path))
        found[variable.name], place = _tensor(data, 0, path.name, variable)
        if place != len(data):
            raise ModelFileError(f"{path} has {len(data) - place} bytes too many: it is damaged.")
        files.append(path)
    return found, files


def _tensor(data: memoryview, place: int, where: str, variable: Variable) -> tuple[Array, int]:
    """One tensor, and where the next begins."""

    def take(count: int) -> memoryview:
        nonlocal place
        if count < 0 or place + count > len(data):
            raise ModelFileError(
                f"{where} is cut off or damaged: the parameter '{variable.name}' needs {count} "
                f"bytes from byte {place} on, and {len(data) - place} are left."
            )
        place += count
        return data[place - count : place]

    version, levels = struct.unpack("<IQ", take(12))
    if version != 0 or levels > _MAX_LEVELS:
        raise ModelFileError(
            f"{where} is no file of Paddle parameters, or belongs to another program: "
            f"'{variable.name}' has the version {version} and {levels} levels."
        )
    for _ in range(levels):
        take(struct.unpack("<Q", take(8))[0])
    version, size = struct.unpack("<Ii", take(8))
    if version != 0 or not 0 <= size <= _MAX_DESCRIPTION:
        raise ModelFileError(f"{where} is damaged at the parameter '{variable.name}'.")
    description = Message(take(size), f"{where}, parameter '{variable.name}'")
    dtype, shape = DTYPES.get(description.integer(1)), tuple(description.ints(2))
    if dtype is None or any(item < 0 for item in shape):
        raise ModelFileError(
            f"{where}: the parameter '{variable.name}' has the type {description.integer(1)}, "
            f"which is not supported, or the shape {list(shape)}."
        )
    if len(shape) != len(variable.shape) or any(
        wanted not in (-1, size) for wanted, size in zip(variable.shape, shape, strict=True)
    ):
        raise ModelFileError(
            f"{where}: the parameter '{variable.name}' has the shape {list(shape)}, the program "
            f"wants {list(variable.shape)}: they do not belong together."
        )
    raw = take(math.prod(shape) * itemsize(dtype))
    values = np.frombuffer(raw, dtype).reshape(shape)
    return (values.astype(np.float32) if values.dtype.kind == "f" else values), place
