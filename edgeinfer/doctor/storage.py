"""Room and permission for what edgeinfer writes of its own accord: the cache, temporary folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.compiled import BOUND_VARIABLE, DEFAULT_BOUND, bound_of
from edgeinfer.doctor.box import Box
from edgeinfer.doctor.finding import Finding, fail, ok, warn
from edgeinfer.errors import UsageError

_MIB = 1 << 20
# A TensorRT engine or an OpenVINO blob of a larger model is a few hundred MiB.
_CACHE_BYTES = 1024 * _MIB
_TEMP_BYTES = 64 * _MIB
_ELSEWHERE = "export EDGEINFER_CACHE=/a/folder/on/a/larger/disk"


def _or_mend(cache: Path, there: Path) -> str:
    """What else would help, where that can be told.

    Args:
        there: the cache, or the nearest folder above it, which may be anybody's.
    """
    if not there.is_dir():
        return f", or rm {there} (it is a file)"
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        return ""  # who mounted it so meant it
    if there == cache:
        return f", or sudo chown -R $USER {there}"
    return f", or sudo install -d -o $USER {cache}"


def cache(box: Box) -> Iterator[Finding]:
    """The folder of hashes, plans and compiled models: losing it costs time only."""
    text = box.environment.get(BOUND_VARIABLE)
    try:
        bound = bound_of(text) if text else DEFAULT_BOUND
    except UsageError as error:
        yield fail("cache", str(error).rstrip("."), f"unset {BOUND_VARIABLE}, or correct it")
        return
    there = _existing(box.cache)
    free = box.free_bytes(there)
    if not os.access(there, os.W_OK | os.X_OK):
        yield warn(
            "cache",
            f"{box.cache} may not be written to: every start hashes and vets models anew, and "
            f"nothing that was tuned or compiled is kept",
            _ELSEWHERE.replace("on/a/larger/disk", "that/you/own") + _or_mend(box.cache, there),
        )
    elif bound < _CACHE_BYTES:
        yield warn(
            "cache",
            f"{BOUND_VARIABLE}={text} bounds it to {bound / _MIB:.0f} MiB: a compiled model may "
            f"not fit, and is built anew at every start",
            f"unset {BOUND_VARIABLE}, unless that is what you mean",
        )
    elif free is not None and free < _CACHE_BYTES:
        yield warn(
            "cache",
            f"{box.cache} has {free / _MIB:.0f} MiB left: a compiled model may not fit",
            f"free some room, or {_ELSEWHERE}",
        )
    else:
        room = "" if free is None else f", {free / (1 << 30):.1f} GiB left"
        yield ok("cache", f"{box.cache}{room}")


def temporary(box: Box) -> Iterator[Finding]:
    """Every child process starts in an empty folder of its own."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        yield fail(
            "temporary files",
            "no folder for temporary files may be written to: no child process can start",
            "sudo mount -t tmpfs tmpfs /tmp, or export TMPDIR=/a/folder/that/you/own",
        )
        return
    free = box.free_bytes(folder)
    if free is not None and free < _TEMP_BYTES:
        yield warn(
            "temporary files",
            f"{folder} has {free / _MIB:.0f} MiB left",
            f"empty {folder}, or export TMPDIR=/a/folder/on/a/larger/disk",
        )
    else:
        room = "" if free is None else f", {free / (1 << 30):.1f} GiB left"
        yield ok("temporary files", f"{folder}{room}")


def _existing(path: Path) -> Path:
    """The folder itself or the nearest above it that exists."""
    return path if path.exists() or path.parent == path else _existing(path.parent)
