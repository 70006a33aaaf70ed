"""PyTorch: exported programs, modules that a function builds, and, where trusted, pickled ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError, UsageError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.torch_tools import formats
from edgeinfer_export.sources.torch_tools.checkpoint import (
    check_harmless,
    only_weights,
    read_checkpoint,
    refusal,
)
from edgeinfer_export.sources.torch_tools.pt2_safety import check_program
from edgeinfer_export.sources.torch_tools.reader import hash_files, read_program

TITLE = "PyTorch"

_FORMATS = (formats.PT2, formats.CHECKPOINT, formats.SAFETENSORS)
_ENDINGS = (".pt", ".pth", ".pt2", ".ckpt", ".safetensors")


def recognizes(path: Path) -> bool:
    """Whether it holds an exported program, a checkpoint of torch.save, or safetensors."""
    if not path.is_file():
        return False
    if formats.format_of(path) in _FORMATS:
        return True
    ending = path.suffix.lower()
    return ending == ".safetensors" or (ending in _ENDINGS and formats.looks_cut_off(path))


def open_source(request: Request) -> SourceModel:
    """Read a program of PyTorch, in a child process.

    Raises:
        ModelFileError: if it is missing, damaged, hostile, keeps state, or cannot be converted.
        UsageError: if an option is missing or does not fit.
        MissingPackageError: if torch is not installed.
    """
    if request.entry is not None:
        return _open_entry(request, request.entry)
    path = request.path
    if request.weights is not None:
        raise UsageError(
            f"--weights {request.weights} needs the code that they belong to: give --entry "
            f"module:callable, a function that returns the module."
        )
    kind = formats.format_of(path)
    if kind == formats.PT2:
        check_program(path)
        return _read(request, {"kind": "pt2"}, path)
    if kind == formats.SAFETENSORS or (kind is None and path.suffix.lower() == ".safetensors"):
        header = formats.safetensors_header(path)
        shown = [(name, f"{list(shape)} {dtype}") for name, (dtype, shape) in header.items()]
        raise ModelFileError(only_weights(path, shown))
    if kind == formats.CHECKPOINT:
        saved = read_checkpoint(path)
        if not saved.classes:
            raise ModelFileError(only_weights(path, saved.tensors))
        if not request.trust_pickle:
            raise ModelFileError(refusal(path, saved))
        return _read(request, {"kind": "pickled", "folder": str(Path.cwd())}, path)
    raise ModelFileError(_foreign(path))


def _foreign(path: Path) -> str:
    if not path.exists():
        return f"The model {path} does not exist. Check the path."
    if formats.looks_cut_off(path):
        return f"{path} is cut off: its table of contents is missing. Copy or download it again."
    if formats.format_of(path) == formats.TORCHSCRIPT:
        return f"{path} is TorchScript: give --framework torchscript, or leave it to auto."
    return (
        f"{path} is no file of PyTorch: neither an exported program, nor one of torch.save, nor "
        f"safetensors. Name what it is with --framework."
    )


def _open_entry(request: Request, entry: str) -> SourceModel:
    """SOURCE is the weights, or with --weights the folder that the function's module lies in."""
    module, colon, name = entry.partition(":")
    if not (colon and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))):
        raise UsageError(
            f"--entry takes module:callable, such as net:build for the function build in net.py, "
            f"not '{entry}'."
        )
    path, weights = request.path, request.weights
    folder = path if path.is_dir() else Path.cwd()
    if path.suffix == ".py" and path.is_file():
        folder = path.parent
    elif weights is None and not path.is_dir():
        weights = path
    if weights is not None:
        check_harmless(weights, request.trust_pickle)
    job = {
        "kind": "entry",
        "entry": entry,
        "folder": str(folder.resolve()),
        "weights": None if weights is None else str(weights.resolve()),
    }
    return _read(request, job, weights)


def _read(request: Request, job: Mapping[str, Any], hashed: Path | None) -> SourceModel:
    digest = "" if hashed is None else hash_files([hashed])
    return read_program(request, job, "pytorch", digest)
