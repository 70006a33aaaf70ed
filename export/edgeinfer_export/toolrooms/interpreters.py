"""Find a Python of the version that a room needs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeinfer.child import Child
from edgeinfer.errors import MissingPackageError

# Where version managers put interpreters; the newest patch release of a version comes first.
_MANAGED = (
    ".pyenv/versions/{version}.*/bin/python",
    ".local/share/uv/python/cpython-{version}.*/bin/python{version}",
)
_TIMEOUT_S = 30.0


def find_python(versions: Sequence[str], room: str) -> Path:
    """The first interpreter of one of these versions that can make environments.

    Looked for: the running one, ``python3.X`` on the path, those of pyenv and uv.

    Args:
        versions: such as ``3.11``, best first.
        room: what it is for, for people.

    Raises:
        MissingPackageError: if there is none, with what to install.
    """
    tried = []
    for version in versions:
        for path in _candidates(version):
            reason = _why_not(path, version)
            if reason is None:
                return path
            tried.append(f"{path} {reason}")
    wanted = " or ".join(versions)
    found = f" Found, but not usable: {'; '.join(tried)}." if tried else ""
    raise MissingPackageError(
        f"{room} needs Python {wanted}, and none is here. Install one where it is found: "
        f"python{versions[0]} on the PATH (with its venv package), `pyenv install {versions[0]}` "
        f"or `uv python install {versions[0]}`.{found}"
    )


def _candidates(version: str) -> Iterator[Path]:
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield Path(sys.executable)
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield Path(on_path)
    for pattern in _MANAGED:
        found = Path.home().glob(pattern.format(version=version))
        yield from sorted(found, key=_patch, reverse=True)


def _patch(path: Path) -> tuple[int, ...]:
    """The numbers in an interpreter's version folder: 3.9.18 is newer than 3.9.2."""
    return tuple(int(part) for part in path.parents[1].name.split(".") if part.isdecimal())


def _why_not(path: Path, version: str) -> str | None:
    """Why this interpreter cannot make a room; None if it can."""
    # Shims of pyenv stand on the path for versions that are not active, Debian's Python comes
    # without what makes environments: only asking tells.
    finished = Child("ensurepip", ["--version"], python=path).wait(_TIMEOUT_S)
    if finished.returncode == 0:
        told = Child("platform", python=path).wait(_TIMEOUT_S)
        return None if told.returncode == 0 else "does not start"
    last = finished.stderr.strip().splitlines()
    return f"cannot make environments ({last[-1] if last else 'no reason given'})"
