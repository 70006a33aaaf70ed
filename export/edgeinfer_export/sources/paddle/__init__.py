"""Paddle: a program (`__model__`, `.pdmodel`) and its parameters (`__params__`, `.pdiparams`)."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.legacy.files import finish, no_partner, start_of
from edgeinfer_export.sources.legacy.witness import paddle
from edgeinfer_export.sources.paddle.convert import convert
from edgeinfer_export.sources.paddle.params import read_combined, read_separate
from edgeinfer_export.sources.paddle.program import read_program

TITLE = "Paddle"

_PROGRAM_NAMES, _PROGRAM_ENDING = ("__model__", "model"), ".pdmodel"
_PARAMS_NAMES, _PARAMS_ENDING = ("__params__", "params"), ".pdiparams"
# A program begins with its first block: number 0, whose parent is number -1.
_BLOCK = b"\x08\x00\x10" + b"\xff" * 9 + b"\x01"
_TAG = b"\x0a"


def recognizes(path: Path) -> bool:
    """Whether it is a program, its parameters, or a folder with both."""
    if path.is_dir():
        return _program_in(path) is not None
    return _is_program(path) or (
        _is_params_name(path) and bool(start_of(path)) and _program_of(path) is not None
    )


def open_source(request: Request) -> SourceModel:
    """Read a program and its parameters.

    Raises:
        ModelFileError: if one of the two is missing or damaged, they do not belong together, or an
            operator is not supported.
        UsageError: if the shape of an input is needed.
    """
    program_path, params_path = _files(request)
    program = read_program(program_path)
    files: tuple[Path, ...]
    opened: tuple[Path, ...]
    if params_path is None:
        params, parts = read_separate(program_path.parent, program)
        files, opened = (program_path, *parts), (program_path.parent,)
    else:
        params = read_combined(params_path, program)
        files = (program_path, params_path)
        opened = files
    converted = convert(program, params, request.input_shapes)
    if params_path is None and program_path.name != "__model__":
        opened = files
    reference, notes = paddle(request, converted.model, opened, converted.comparable)
    return finish(
        request,
        converted.model,
        "paddle",
        files,
        reference=reference,
        notes=(*converted.notes, *notes),
    )


def _is_program(path: Path) -> bool:
    start = start_of(path, 64)
    return start.startswith(_TAG) and _BLOCK in start[:24]


def _is_params_name(path: Path) -> bool:
    return path.name in _PARAMS_NAMES or path.suffix == _PARAMS_ENDING


def _program_in(folder: Path) -> Path | None:
    """The program in a folder, if there is exactly one."""
    try:
        named = [folder / name for name in _PROGRAM_NAMES if _is_program(folder / name)]
        found = named or sorted(
            item for item in folder.glob(f"*{_PROGRAM_ENDING}") if _is_program(item)
        )
    except OSError:
        return None
    return found[0] if len(found) == 1 else None


def _program_of(params: Path) -> Path | None:
    twin = params.with_suffix(_PROGRAM_ENDING)
    return twin if twin.is_file() else _program_in(params.parent)


def _files(request: Request) -> tuple[Path, Path | None]:
    """The program and its parameters; None where each parameter is a file of its own."""
    path, other = request.path, request.weights
    if not path.exists():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    if path.is_dir():
        program = _program_in(path)
        if program is None:
            raise ModelFileError(
                f"{path} has no program of Paddle, or more than one: name the file __model__ or "
                f"NAME.pdmodel itself."
            )
        path = program
    elif not _is_program(path) and _is_params_name(path):
        program = other or _program_of(path)
        if program is None:
            raise no_partner(path, "parameters", "the program", (_PROGRAM_ENDING,))
        return program, path
    return path, other or _params_of(path)


def _params_of(program: Path) -> Path | None:
    candidates = [program.with_suffix(_PARAMS_ENDING)]
    candidates += [program.with_name(name) for name in _PARAMS_NAMES]
    return next((item for item in candidates if item.is_file()), None)
