"""What an artefact holds: its manifest, and whether every file is still what was built."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from edgeinfer import cache
from edgeinfer.compiled.shelf import MANIFEST, Refused
from edgeinfer.files import sync_folder
from edgeinfer.records import dataclass

SCHEMA = "edgeinfer.artefact/1"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What `seal` wrote: sizes in bytes and SHA-256 of each file, by path inside the folder."""

    kind: str
    key: Mapping[str, str]
    built_ns: int
    sizes: Mapping[str, int]
    hashes: Mapping[str, str]


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
    cache.note("verified", _stamp(folder, files), {"folder": folder.name})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where it is missing or not what `seal` writes."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        if found["schema"] != SCHEMA:
            return None
        files = dict(found["files"])
        return Manifest(
            kind=str(found["kind"]),
            key={str(name): str(value) for name, value in dict(found["key"]).items()},
            built_ns=int(found["built_ns"]),
            sizes={str(name): int(entry["size"]) for name, entry in files.items()},
            hashes={str(name): str(entry["sha256"]) for name, entry in files.items()},
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def is_undamaged(folder: Path, key: Mapping[str, str]) -> bool:
    """Whether every file is what was built for this key.

    Hashing an engine costs as much as opening it: what was hashed once is remembered by device,
    inode, size, mtime and ctime of each file.
    """
    manifest = read_manifest(folder)
    if manifest is None or manifest.key != dict(key):
        return False
    try:
        sizes = {name: (folder / name).stat().st_size for name in manifest.sizes}
        if sizes != manifest.sizes:
            return False
        stamp = _stamp(folder, manifest.sizes)
        if cache.recall("verified", stamp) is not None:
            return True
        if any(_sha256(folder / name) != digest for name, digest in manifest.hashes.items()):
            return False
    except OSError:
        return False
    cache.note("verified", stamp, {"folder": folder.name})
    return True


def _stamp(folder: Path, names: Mapping[str, object]) -> str:
    parts: list[object] = []
    for name in (MANIFEST, *sorted(names)):
        status = (folder / name).stat()
        parts += [status.st_dev, status.st_ino, status.st_size]
        parts += [name, status.st_mtime_ns, status.st_ctime_ns]
    return cache.key_of(*parts)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()
