"""Folders of Hugging Face's transformers: config.json with weights beside it."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.torch_tools import hugging_face
from edgeinfer_export.sources.torch_tools.checkpoint import check_harmless
from edgeinfer_export.sources.torch_tools.reader import hash_files, read_program

TITLE = "Hugging Face folder"

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def recognizes(path: Path) -> bool:
    """Whether it is a folder with the configuration of a model of transformers."""
    return hugging_face.is_folder(path)


def open_source(request: Request) -> SourceModel:
    """Read a model of transformers, in a child process; nothing is fetched from anywhere.

    Raises:
        ModelFileError: if a file is missing or damaged, code lies in the folder, weights are
            missing, or it cannot be converted.
        UsageError: if a shape does not fit.
        MissingPackageError: if torch or transformers are not installed.
    """
    path = request.path
    if not hugging_face.is_folder(path):
        what = "does not exist" if not path.exists() else "is no folder with a config.json"
        raise ModelFileError(f"{path} {what} of transformers. Give what save_pretrained() made.")
    config = hugging_face.read_json(path / hugging_face.CONFIG)
    hugging_face.architecture_of(path, config)
    if "auto_map" in config and not request.trust_pickle:
        raise ModelFileError(
            f"{path} brings code of its own ({hugging_face.CONFIG} has an auto_map), which is not "
            f"run. If you trust whoever made this folder, allow it with --trust-pickle."
        )
    weights = [file for pattern in _WEIGHTS for file in sorted(path.glob(pattern))]
    if not weights:
        raise ModelFileError(
            f"{path} holds no weights (model.safetensors or pytorch_model.bin). Save the model "
            f"with save_pretrained(), or download all of its files."
        )
    for file in weights:
        check_harmless(file, request.trust_pickle)
    hashed = [*weights, *(file for file in sorted(path.glob("*.json")) if file.is_file())]
    return read_program(request, {"kind": "folder"}, "transformers", hash_files(hashed))
