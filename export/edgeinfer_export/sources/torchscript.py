"""TorchScript: programs of torch.jit.save."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.torch_tools import formats
from edgeinfer_export.sources.torch_tools.reader import hash_files, read_program
from edgeinfer_export.sources.torch_tools.script_safety import check_code

TITLE = "TorchScript"


def recognizes(path: Path) -> bool:
    """Whether it is an archive with TorchScript's code in it."""
    return path.is_file() and formats.format_of(path) == formats.TORCHSCRIPT


def open_source(request: Request) -> SourceModel:
    """Read a TorchScript program, in a child process.

    Raises:
        ModelFileError: if it is missing, damaged, touches files, keeps state, or cannot be
            converted.
        UsageError: if a shape is missing or does not fit.
        MissingPackageError: if torch is not installed.
    """
    path = request.path
    if not recognizes(path):
        what = "does not exist" if not path.exists() else "holds no TorchScript program"
        raise ModelFileError(f"{path} {what}. Check the path, or leave --framework to auto.")
    check_code(path)
    return read_program(request, {"kind": "torchscript"}, "torchscript", hash_files([path]))
