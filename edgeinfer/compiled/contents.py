"""What an artefact holds: its manifest, and whether every file is still what was built."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeinfer import cache
from edgeinfer.compiled.shelf import MANIFEST, Refused
from edgeinfer.files import sync_folder
from edgeinfer.lazy import new_sha256

SCHEMA = "edgeinfer.artefact/1"
_VERIFIED = "verified"
_BLOCK = 1 << 20
# What reading a damaged or foreign one may raise.
_NO_MANIFEST = (
    *(OSError, ValueError, KeyError, TypeError),
    *(AttributeError, OverflowError, RecursionError),
)


def seal(folder: Path, kind: str, key: Mapping[str, str], took_ns: int) -> None:
    """Sync a built folder and write its manifest: from then on it can be verified.

    Args:
        took_ns: how long building took, for people.

    Raises:
        Refused: if it holds nothing, or something else than files and folders.
        OSError: if it cannot be written.
    """
    files = {}
    inner = [folder]
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Refused(f"what was built holds {path.name}, which is no plain file")
        if path.is_dir():
            inner.append(path)
            continue
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        files[str(path.relative_to(folder))] = {
            "size": path.stat().st_size,
            "sha256": _sha256(path),
        }
    if not files:
        raise Refused("nothing was built")
    manifest = {
        "schema": SCHEMA,
        "kind": kind,
        "key": dict(key),
        "built_ns": took_ns,
        "files": files,
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for part in inner:
        sync_folder(part)
    stamp, _ = _stamp(folder, files)
    cache.note(_VERIFIED, stamp, {"folder": folder.name})


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What `seal` wrote, or None where it is missing or not that.

    Returns:
        ``kind``, ``key``, ``built_ns``, and ``files``: path inside the folder to ``size`` in bytes
        and ``sha256``.
    """
    try:
        # As text: this is on the way of every opening, and a path's joints take longer.
        with open(f"{folder}/{MANIFEST}", "rb", buffering=0) as file:
            found = json.loads(file.read())
        if found["schema"] != SCHEMA:
            return None
        return {
            "kind": str(found["kind"]),
            "key": {name: str(value) for name, value in found["key"].items()},
            "built_ns": int(found["built_ns"]),
            "files": {
                name: {"size": int(entry["size"]), "sha256": str(entry["sha256"])}
                for name, entry in found["files"].items()
            },
        }
    except _NO_MANIFEST:
        return None


def is_undamaged(folder: Path, key: Mapping[str, str]) -> bool:
    """Whether every file is what was built for this key.

    Hashing an engine costs as much as opening it: what was hashed once is remembered by device,
    inode, size, mtime and ctime of each file.
    """
    manifest = read_manifest(folder)
    if manifest is None or manifest["key"] != dict(key):
        return False
    files = manifest["files"]
    try:
        stamp, sizes = _stamp(folder, files)
        if any(sizes[name] != entry["size"] for name, entry in files.items()):
            return False
        if cache.recall(_VERIFIED, stamp) is not None:
            return True
        if any(_sha256(f"{folder}/{name}") != entry["sha256"] for name, entry in files.items()):
            return False
    except (OSError, ValueError):  # a name may be none that a file can have
        return False
    cache.note(_VERIFIED, stamp, {"folder": folder.name})
    return True


def _stamp(folder: Path, names: Mapping[str, object]) -> tuple[str, dict[str, int]]:
    """What stands for the files as they lie there, and their sizes in bytes."""
    parts: list[object] = []
    sizes = {}
    for name in (MANIFEST, *sorted(names)):
        status = os.stat(f"{folder}/{name}")
        sizes[name] = status.st_size
        parts += [status.st_dev, status.st_ino, status.st_size]
        parts += [name, status.st_mtime_ns, status.st_ctime_ns]
    return cache.key_of(*parts), sizes


def _sha256(path: Path | str) -> str:
    digest = new_sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
