"""Which of PyTorch's formats a file has, by content, without torch."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import IO

from edgeinfer.errors import ModelFileError

PT2 = "pt2"
TORCHSCRIPT = "torchscript"
CHECKPOINT = "checkpoint"
SAFETENSORS = "safetensors"

# The first pickle of what torch.save wrote before 1.6: torch.serialization.MAGIC_NUMBER.
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_HEADER = 64 << 20
_MAX_MEMBERS = 1_000_000


def format_of(path: Path) -> str | None:
    """One of the names above, None for anything else; never raises."""
    try:
        with path.open("rb") as file:
            return _format(file)
    except (OSError, ValueError, struct.error, zipfile.BadZipFile, NotImplementedError):
        return None


def _format(file: IO[bytes]) -> str | None:
    start = file.read(64)
    if start.startswith(_LEGACY):
        return CHECKPOINT
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            return _archive_format({_inner(name) for name in archive.namelist()[:_MAX_MEMBERS]})
    if len(start) > 9 and start[8:9] == b"{":
        (size,) = struct.unpack("<Q", start[:8])
        if size <= _MAX_HEADER:
            file.seek(8)
            header = json.loads(file.read(size))
            return SAFETENSORS if isinstance(header, dict) else None
    return None


def _inner(name: str) -> str:
    """A member's name without the folder that everything in the archive lies in."""
    return name.partition("/")[2] or name


def _archive_format(names: set[str]) -> str | None:
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return PT2
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return TORCHSCRIPT
    return CHECKPOINT if "data.pkl" in names else None


def looks_cut_off(path: Path) -> bool:
    """Whether it starts as a ZIP archive, as PyTorch's files do, but has no table of contents."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04" and not zipfile.is_zipfile(file)
    except OSError:
        return False


def read_member(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member of an archive, unless it is bigger than it may be.

    Raises:
        ModelFileError: if it is damaged or too big.
    """
    try:
        with archive.open(name) as file:
            data = file.read(limit + 1)
    except (OSError, RuntimeError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} is damaged: its part {name} cannot be read.") from error
    if len(data) > limit:
        raise ModelFileError(
            f"{path} is refused: its part {name} is larger than {limit >> 20} MiB, which no real "
            f"model needs."
        )
    return data


def safetensors_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name to type and shape of the tensors in a safetensors file.

    Raises:
        ModelFileError: if it is damaged or cut off.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_MAX_HEADER, size):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        found = {
            name: (str(item["dtype"]), tuple(int(n) for n in item["shape"]))
            for name, item in header.items()
            if name != "__metadata__"
        }
        end = max((int(i["data_offsets"][1]) for n, i in header.items() if n in found), default=0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise ModelFileError(f"{path} is no complete safetensors file ({error}).") from error
    if 8 + length + end != size:
        raise ModelFileError(
            f"{path} is cut off or damaged: its header describes {8 + length + end} bytes, the "
            f"file has {size}. Copy or download it again."
        )
    return found
