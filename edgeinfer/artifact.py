"""Model files: is this one, which one is it, and does it reach outside its folder?"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer import cache, hashes, lazy
from edgeinfer.errors import ModelFileError
from edgeinfer.records import dataclass
from edgeinfer.sniff import looks_like

if TYPE_CHECKING:
    import onnx

# What turns a model of another framework into one that runs here.
_EXPORT = "turn it into ONNX with 'edgeinfer export'"
# First bytes of what people pass by mistake, and what to say about each.
_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with git lfs pull"),
    (
        0,
        b"PK\x03\x04",
        f"a zip archive (a PyTorch .pt, a Keras .keras or a .npz): {_EXPORT}",
    ),
    (0, b"\x80\x02", f"a Python pickle (an old PyTorch checkpoint): {_EXPORT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5): {_EXPORT}"),
    (4, b"TFL3", f"a TensorFlow Lite model: {_EXPORT}"),
    # A length of 64 bits, then the header: https://github.com/huggingface/safetensors#format
    (6, b'\0\0{"', f"a safetensors file: {_EXPORT}, which needs the network's code beside it"),
    (4, b"ORTM", "an ORT-format model: give the ONNX file that it was made from"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"RIFF", "a RIFF file (AVI, WAV or WebP)"),
    (0, b"\x7fELF", "a compiled program or a TensorRT engine"),
    (0, b"\x1f\x8b", "a gzip archive: unpack it first"),
)
# https://protobuf.dev/programming-guides/proto-limits/#total
_LARGEST = (1 << 31) - 1
# The key of the entry that names a file with external data: no such model lacks these bytes.
_EXTERNAL_MARK = b"location"
# Nodes that compute on narrowed numbers; the contrib forms have the same names in another domain,
# and a few of their own.
QUANTIZED_OPS = frozenset(
    (
        "ConvInteger",
        "DynamicQuantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    )
)


@dataclass(frozen=True)
class ModelFile:
    """A model file whose content is known.

    Attributes:
        path: as given.
        sha256: hash of the file's content.
        size: in bytes.
        external: files beside it that hold its tensors.
    """

    path: Path
    sha256: str
    size: int
    external: tuple[Path, ...] = ()


def open_model_file(path: Path) -> ModelFile:
    """Look at a model file without handing it to ONNX Runtime.

    Its hash is remembered by device, inode, size, mtime and ctime, because hashing costs as much
    as opening.

    Raises:
        ModelFileError: if it is missing, unreadable, empty, something else than ONNX, or its
            external data lie outside its folder.
    """
    try:
        str(path).encode()
        status = path.stat()
    except UnicodeEncodeError as error:
        raise ModelFileError(
            f"The model's name {str(path)!r} is not UTF-8, which ONNX Runtime wants: rename it."
        ) from error
    except FileNotFoundError as error:
        raise ModelFileError(f"The model {path} does not exist{_nearby(path)}") from error
    except OSError as error:
        raise ModelFileError(f"The model {path} cannot be read: {error.strerror}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise ModelFileError(f"{path} is a folder; name the .onnx file in it{_inside(path)}.")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path} is not a regular file.")
    if status.st_size == 0:
        raise ModelFileError(f"The model {path} is empty (0 bytes): copy or export it again.")
    if status.st_size > _LARGEST:
        raise ModelFileError(
            f"{path} is no ONNX model: it has {status.st_size} bytes, and protobuf ends at 2 GiB. "
            f"Larger models keep their tensors in a file of their own: name the .onnx file beside "
            f"it."
        )
    known = hashes.recall(status)
    if known is not None and not known[1]:
        return ModelFile(path, known[0], status.st_size)
    sha256, marked = _read(path)
    external = external_files(path) if marked else ()
    hashes.note(status, sha256, bool(external))
    if external:
        sha256 = _with_external(sha256, external)
    return ModelFile(path, sha256, status.st_size, external)


def _read(path: Path) -> tuple[str, bool]:
    """Hash a file and look for external data in it."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _refuse_foreign(path, data[:512])
            return lazy.new_sha256(data).hexdigest(), data.find(_EXTERNAL_MARK) >= 0
    except (OSError, ValueError) as error:
        raise ModelFileError(f"The model {path} cannot be read: {error}.") from error


def _refuse_foreign(path: Path, head: bytes) -> None:
    for offset, magic, what in _FOREIGN:
        if head[offset:].startswith(magic):
            raise ModelFileError(f"{path} is no ONNX model but {what}.")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise ModelFileError(
            f"{path} is no ONNX model but a web page or XML file: the download went wrong; "
            f"fetch the file itself."
        )
    if text.startswith((b"{", b"[{", b"[[", b'["')):
        raise ModelFileError(f"{path} is no ONNX model but JSON text.")
    kind, what = looks_like(head)
    if kind in ("picture", "video", "array"):
        raise ModelFileError(f"{path} is no ONNX model but {what}.")
    if what.startswith("a text"):
        raise ModelFileError(
            f"{path} is no ONNX model but {what}. Name the .onnx file; where this describes a "
            f"model of another framework, {_EXPORT}."
        )


def _nearby(path: Path) -> str:
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix == ".onnx"]
    except OSError:
        return f", and neither does its folder {path.parent}. Check the path."
    # By stems: all end alike.
    stems = {name.removesuffix(".onnx"): name for name in names}
    near = difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.6)
    return f"; did you mean {path.parent / stems[near[0]]}?" if near else ". Check the path."


def _inside(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.suffix == ".onnx")
    except OSError:
        return ""
    return f": {', '.join(names[:3])}" if names else ", it holds none"


def external_files(path: Path) -> tuple[Path, ...]:
    """The files that hold a model's external tensors, each checked to lie in the model's folder.

    Raises:
        ModelFileError: for a location that is absolute, leaves the folder, is a hard link or is
            missing.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise ModelFileError(f"{path} is not a complete ONNX file: {_first_line(error)}") from error
    folder = path.resolve().parent
    found: dict[Path, None] = {}
    for tensor in (*tensors_of(model.graph), *_tensors_of_functions(model)):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        found[_checked_location(path, folder, location, tensor.name)] = None
    return tuple(found)


def _checked_location(path: Path, folder: Path, location: str, tensor: str) -> Path:
    target = folder / location
    why = None
    if not location or Path(location).is_absolute() or ".." in Path(location).parts:
        why = "is not a file name inside the model's folder"
    elif not target.is_file():
        why = "is missing: copy it beside the model"
    elif folder not in target.resolve().parents:
        why = "leads outside the model's folder"
    elif os.stat(target).st_nlink > 1:
        why = "is a hard link to a file elsewhere: replace it by a copy"
    if why is not None:
        raise ModelFileError(
            f"The model {path} keeps the tensor '{tensor}' in '{location}', which {why}."
        )
    return target


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from tensors_of(attribute.g)
            for inner in attribute.graphs:
                yield from tensors_of(inner)


def _tensors_of_functions(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for function in model.functions:
        for node in function.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for inner in (attribute.g, *attribute.graphs):
                    yield from tensors_of(inner)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)
            for inner in attribute.graphs:
                yield from nodes_of(inner)


def _with_external(sha256: str, external: tuple[Path, ...]) -> str:
    digest = lazy.new_sha256(sha256.encode())
    for path in external:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


def read_graph(path: Path) -> Any:
    """The model as an `onnx.ModelProto`, external tensors left where they are.

    Raises:
        ModelFileError: if it cannot be parsed.
    """
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise ModelFileError(
            f"{path} is not a complete ONNX file ({_first_line(error)}): copy or export it again."
        ) from error


def quantized_ops(model: onnx.ModelProto) -> tuple[str, ...]:
    """The types of the nodes that compute on narrowed numbers, sorted."""
    return tuple(sorted({node.op_type for node in nodes_of(model.graph)} & QUANTIZED_OPS))


def precision_of(model: onnx.ModelProto) -> str:
    """The arithmetic that a graph asks for by itself: ``int8``, ``fp16``, ``bf16`` or ``fp32``.

    Its own nodes and most of its weights decide, not its inputs: a graph that takes float32 may
    cast to float16 at once.
    """
    import math

    import onnx

    if quantized_ops(model):
        return "int8"
    kinds: dict[int, str] = {
        onnx.TensorProto.FLOAT: "fp32",
        onnx.TensorProto.DOUBLE: "fp32",
        onnx.TensorProto.FLOAT16: "fp16",
        onnx.TensorProto.BFLOAT16: "bf16",
    }
    sizes = dict.fromkeys(("fp32", "fp16", "bf16"), 0)
    for tensor in tensors_of(model.graph):
        if tensor.data_type in kinds:
            sizes[kinds[tensor.data_type]] += math.prod(tensor.dims)
    if not any(sizes.values()):
        for item in model.graph.input:
            if item.type.tensor_type.elem_type in kinds:
                sizes[kinds[item.type.tensor_type.elem_type]] += 1
    return max(sizes, key=lambda kind: sizes[kind])


def file_precision(path: Path, sha256: str = "") -> str:
    """`precision_of` a file, remembered by its content where that is known.

    Raises:
        ModelFileError: if it cannot be parsed.
    """
    known = (cache.recall("precisions", sha256) or {}).get("precision") if sha256 else None
    if isinstance(known, str):
        return known
    found = precision_of(read_graph(path))
    if sha256:
        cache.note("precisions", sha256, {"precision": found})
    return found


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
