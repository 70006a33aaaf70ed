"""Files of one model in several precisions, linked by the hash of the file they were made from."""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.artifact import ModelFile, open_model_file
from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.records import dataclass
from edgeinfer.spec import METADATA_KEY

# A folder may be anybody's: so many files are looked at, so many bytes of them are hashed.
_MOST_FILES = 64
_MOST_HASHED_BYTES = 2 << 30
_MOST_METADATA_BYTES = 4 << 20
# Field numbers of onnx.proto: ModelProto.metadata_props, StringStringEntryProto.key and .value.
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2


@dataclass(frozen=True)
class Variant:
    """A model file and what it says of its origin.

    Attributes:
        file: path and hash.
        source_sha256: hash of the file that it was made from, empty where it does not say.
        precision: ``fp32``, ``int8``, ...; empty where it does not say.
    """

    file: ModelFile
    source_sha256: str = ""
    precision: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.file.path),
            "sha256": self.file.sha256,
            "source_sha256": self.source_sha256,
            "precision": self.precision,
        }


def variant_of(file: ModelFile) -> Variant:
    """What a model file says of its origin, its graph unread."""
    said = _said(file.path)
    return Variant(file, said.get("source_sha256", ""), said.get("precision", ""))


def find_variants(asked: ModelFile, given: Sequence[Path]) -> tuple[Variant, ...]:
    """The model that was asked for, and its variants: those named, and those beside it.

    A file is a variant where it was made from the one that was asked for, both were made from
    one source, or the one that was asked for was made from it. Names say nothing.

    Raises:
        ModelFileError: if a file that was named is no variant, or no model.
    """
    first = variant_of(asked)
    found = {asked.sha256: first}
    for path in given:
        variant = variant_of(open_model_file(path))
        if variant.file.sha256 != asked.sha256 and not _linked(first, variant):
            made_from = variant.source_sha256[:12] or "an unnamed source"
            raise ModelFileError(
                f"{path} is no variant of {asked.path}: it was made from {made_from}, the model "
                f"is {asked.sha256[:12]}. Variants carry the hash of the file that they were made "
                f"from: export them from {asked.path}."
            )
        found.setdefault(variant.file.sha256, variant)
    for variant in _beside(first):
        found.setdefault(variant.file.sha256, variant)
    return tuple(found.values())


def _linked(asked: Variant, other: Variant) -> bool:
    source = asked.source_sha256
    if other.source_sha256 and other.source_sha256 in (asked.file.sha256, source):
        return True
    return bool(source) and other.file.sha256 == source


def _beside(asked: Variant) -> Iterator[Variant]:
    try:
        paths = sorted(asked.file.path.parent.glob("*.onnx"))[:_MOST_FILES]
    except OSError:
        return
    hashed = 0
    for path in paths:
        said = _said(path)
        made_from = said.get("source_sha256", "")
        likely = made_from in (asked.file.sha256, asked.source_sha256) and made_from
        if not likely:
            # It may be the source of the one that was asked for: only its hash can tell.
            if not asked.source_sha256:
                continue
            with contextlib.suppress(OSError):
                hashed += path.stat().st_size
            if hashed > _MOST_HASHED_BYTES:
                continue
        try:
            variant = Variant(open_model_file(path), made_from, said.get("precision", ""))
        except (EdgeInferError, OSError):
            continue
        if _linked(asked, variant):
            yield variant


def _said(path: Path) -> dict[str, str]:
    """The texts of the spec that a model carries; empty where it carries none that can be read."""
    try:
        if not path.is_file():
            return {}  # to open a pipe would wait for who writes into it
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start, end in _fields(data, 0, len(data), _METADATA_PROPS):
                if end - start > _MOST_METADATA_BYTES:
                    continue
                key = b"".join(data[a:b] for a, b in _fields(data, start, end, _KEY))
                if key == METADATA_KEY.encode():
                    value = b"".join(data[a:b] for a, b in _fields(data, start, end, _VALUE))
                    said = json.loads(value)
                    return {k: v for k, v in said.items() if isinstance(v, str)}
    except (OSError, ValueError, IndexError, AttributeError, RecursionError):
        pass
    return {}


def _fields(data: mmap.mmap, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Where the length-delimited fields of one number lie in a protobuf message; others are
    skipped unread (https://protobuf.dev/programming-guides/encoding).

    Raises:
        ValueError: where the bytes are no message.
    """
    at = start
    while at < end:
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _varint(data, at, end)
            if at + length > end:
                raise ValueError("a field reaches beyond its message")
            if number == wanted:
                yield at, at + length
            at += length
        else:
            raise ValueError(f"no such wire type: {kind}")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("a number reaches beyond its message")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
