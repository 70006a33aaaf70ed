"""Refuse TorchScript that writes files: its language can, without any Python."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.torch_tools.formats import read_member

_MAX_BYTES = 64 << 20
# aten::save writes any file; aten::from_file makes one where it may.
_FILES = re.compile(rb"\b(?:torch|ops\.aten)\.(save|from_file)\(")


def check_code(path: Path) -> None:
    """Read the code in a TorchScript archive.

    Raises:
        ModelFileError: if it is damaged, or touches files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".py"):
                    found = _FILES.search(read_member(path, archive, name, _MAX_BYTES))
                    if found is not None:
                        raise ModelFileError(
                            f"{path} is refused: its code ({name}) calls "
                            f"{found[0].decode().rstrip('(')}, which touches files. Save it again "
                            f"without that."
                        )
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} is no complete TorchScript file ({error}).") from error
