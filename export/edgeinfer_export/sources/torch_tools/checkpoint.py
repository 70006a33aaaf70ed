"""What a file of torch.save holds, before anything of it is loaded."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.torch_tools.formats import (
    SAFETENSORS,
    format_of,
    looks_cut_off,
    read_member,
    safetensors_header,
)
from edgeinfer_export.sources.torch_tools.opcodes import (
    MAX_BYTES,
    Contents,
    items_of,
    read_pickles,
    tensor_of,
)

# What torch.load(weights_only=True) rebuilds without being told (torch/_weights_only_unpickler.py).
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter|defaultdict)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.(storage\.)?\w*Storage|torch\.nn\.parameter\.\w+"
    r"|torch\.(Size|device|Tensor|dtype|serialization\._get_layout)"
    r"|torch\.(q?u?int|float|bfloat|bits|complex)\d*\w*"
    r"|torch\.(half|double|long|short|bool)"
    r"|_codecs\.encode|(builtins|__builtin__)\.(set|complex|bytearray|int|float|bool|str)"
)
# Where training scripts put the weights among epoch, optimizer and the like; the first that is
# there is taken.
WEIGHT_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict_ema",
    "params_ema",
    "params",
    "net",
    "network",
    "module",
    "weights",
)
# The first three pickles of the format before torch 1.6: magic number, version, machine.
_LEGACY_PREAMBLE = 3


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
        classes: what would be imported to load it, besides tensors and plain containers.
        tensors: name, shape and type of the weights, without the numbers.
        root: the record of the whole object.
    """

    classes: tuple[str, ...]
    tensors: Sequence[tuple[str, str]]
    root: Any


def read_checkpoint(path: Path) -> Saved:
    """Look into a checkpoint without running anything in it.

    Raises:
        ModelFileError: if it is damaged or cut off.
    """
    contents = _contents(path)
    classes = tuple(name for name in contents.names if not _HARMLESS.fullmatch(name))
    return Saved(classes, _tensors(contents.root), contents.root)


def _contents(path: Path) -> Contents:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
                data = read_member(path, archive, name, MAX_BYTES)
            return next(read_pickles(data))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
        return next(islice(read_pickles(data), _LEGACY_PREAMBLE, None))
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{path} is no complete PyTorch checkpoint ({str(error) or 'its data are missing'}): "
            f"it is damaged or cut off. Copy or download it again."
        ) from error


def _tensors(root: Any) -> list[tuple[str, str]]:
    entries = dict(items_of(root))
    for key in WEIGHT_KEYS:
        if items_of(entries.get(key)):
            entries = dict(items_of(entries[key]))
            break
    described = ((name, tensor_of(record)) for name, record in entries.items())
    return [(name, f"{list(t.shape)} {t.dtype}") for name, t in described if t is not None]


def check_harmless(path: Path, trust_pickle: bool) -> None:
    """Refuse weights whose loading would run code, unless the user allows that.

    Raises:
        ModelFileError: if the file is missing, damaged, cut off, or pickles more than tensors.
    """
    if not path.is_file():
        raise ModelFileError(f"The weights {path} do not exist. Check the path.")
    kind = format_of(path)
    if kind == SAFETENSORS:
        safetensors_header(path)
        return
    if kind is None or kind != "checkpoint":
        cut = " It is cut off: copy or download it again." if looks_cut_off(path) else ""
        raise ModelFileError(
            f"{path} holds no weights: it is neither a file of torch.save nor safetensors.{cut}"
        )
    saved = read_checkpoint(path)
    if saved.classes and not trust_pickle:
        raise ModelFileError(refusal(path, saved))


def refusal(path: Path, saved: Saved) -> str:
    """Why a checkpoint is not loaded, and what to do."""
    return (
        f"{path} is a pickle that runs code when it is loaded: it names {_listed(saved.classes)}. "
        f"Save the weights alone where the code is, torch.save(model.state_dict(), FILE), and give "
        f"--entry module:callable --weights FILE; or, if you trust whoever made this file, allow "
        f"it with --trust-pickle (it is then loaded in a child process)."
    )


def only_weights(path: Path, tensors: Sequence[tuple[str, str]]) -> str:
    """What to do with a file that holds weights and no program."""
    shown = "; ".join(f"{name} {shape}" for name, shape in tensors[:4])
    more = f"; and {len(tensors) - 4} more" if len(tensors) > 4 else ""
    held = f"{len(tensors)} weights ({shown}{more})" if tensors else "no weights that can be listed"
    return (
        f"{path} holds {held} and no program: a network's code is not in such a file. Give a "
        f"function that builds it: --entry module:callable (module.py lies in the working folder) "
        f"and --input-shape NAME:1x3x224x224."
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(name[:80] for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
