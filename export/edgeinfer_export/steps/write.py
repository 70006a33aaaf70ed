"""Write a graph as one file, or as two where protobuf's limit of 2 GiB demands it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    import onnx

# A protobuf message ends at 2 GiB (https://protobuf.dev/programming-guides/encoding/#size-limit).
MAX_BYTES = (1 << 31) - (1 << 24)
# Smaller tensors stay in the graph: shapes are inferred from some of them.
SMALL_BYTES = 1 << 16
# So that a runtime can map them (https://onnx.ai/onnx/repo-docs/ExternalData.html).
_ALIGNMENT = 1 << 16
_BLOCK = 1 << 22


def write_model(model: onnx.ModelProto, path: Path, base: Path | None = None) -> tuple[Path, ...]:
    """Write a model, whose tensors may lie in other files.

    The second file is named by its content: a new pair never touches the file that an older graph
    reads, so the rename of the graph alone decides which pair is there.

    Args:
        model: its big tensors are no longer in it afterwards where a second file was needed.
        path: where the graph goes.
        base: the folder that tensors in other files are relative to.

    Returns:
        The files, the graph last.

    Raises:
        ModelFileError: if a tensor in another file is cut off.
    """
    if size_of(model) <= MAX_BYTES:
        if base is not None:
            load_external(model, base)
        path.write_bytes(model.SerializeToString(deterministic=True))
        return (path,)
    data = path.with_name(f"{path.name}.data")
    digest = hashlib.sha256()
    big = [tensor for tensor in model.graph.initializer if tensor_bytes(tensor) > SMALL_BYTES]
    with data.open("wb") as file:
        moved = [(tensor, *_append(tensor, file, digest, base)) for tensor in big]
    named = path.with_name(f"{path.name}.{digest.hexdigest()[:12]}.data")
    data.rename(named)
    for tensor, offset, length in moved:
        _point(tensor, named.name, offset, length)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return (named, path)


def size_of(model: onnx.ModelProto) -> int:
    """Bytes of a model's tensors, wherever they lie."""
    from edgeinfer.artifact import tensors_of

    return sum(tensor_bytes(tensor) for tensor in tensors_of(model.graph))


def load_external(model: onnx.ModelProto, base: Path, most: int | None = None) -> None:
    """Read tensors from other files into the graph.

    Args:
        base: the folder that they are relative to; which files they name was checked before.
        most: leave bigger ones where they are.

    Raises:
        ModelFileError: if one is cut off.
    """
    import onnx

    from edgeinfer.artifact import tensors_of

    for tensor in tensors_of(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        if most is None or tensor_bytes(tensor) <= most:
            path, offset, length = _place(tensor, base)
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(length)
            _check_length(tensor, len(data), length, path)
            tensor.raw_data = data
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    import onnx

    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return sum(len(text) for text in tensor.string_data)
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    values: int = math.prod(tensor.dims)
    if onnx.TensorProto.DataType.Name(tensor.data_type) in ("INT4", "UINT4", "FLOAT4E2M1"):
        return (values + 1) // 2  # two of them share a byte
    return values * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _append(
    tensor: onnx.TensorProto, file: IO[bytes], digest: hashlib._Hash, base: Path | None
) -> tuple[int, int]:
    """Put a tensor's bytes at the end of a file, block by block; returns where they lie."""
    import onnx

    def put(data: bytes) -> None:
        file.write(data)
        digest.update(data)

    put(b"\0" * (-file.tell() % _ALIGNMENT))
    offset = file.tell()
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        assert base is not None, "tensors in other files need their folder"
        path, start, length = _place(tensor, base)
        with path.open("rb") as source:
            source.seek(start)
            for done in range(0, length, _BLOCK):
                data = source.read(min(_BLOCK, length - done))
                put(data)
        _check_length(tensor, file.tell() - offset, length, path)
    elif tensor.HasField("raw_data"):
        put(tensor.raw_data)
    else:
        put(onnx.numpy_helper.to_array(tensor).tobytes())
    return offset, file.tell() - offset


def _place(tensor: onnx.TensorProto, base: Path) -> tuple[Path, int, int]:
    """File, offset and length of a tensor outside the graph."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset = int(said.get("offset") or 0)
        length = int(said.get("length") or tensor_bytes(tensor))
    except ValueError as error:
        raise ModelFileError(
            f"The place of the tensor '{tensor.name}' in '{said.get('location')}' is no number: "
            f"export the model again."
        ) from error
    if offset < 0 or length != tensor_bytes(tensor):
        raise ModelFileError(
            f"The tensor '{tensor.name}' takes {tensor_bytes(tensor)} bytes; the model says "
            f"{length} at {offset} of '{said.get('location')}': export it again."
        )
    return base / said["location"], offset, length


def _check_length(tensor: onnx.TensorProto, found: int, wanted: int, path: Path) -> None:
    if found != wanted:
        raise ModelFileError(
            f"{path} is cut off: the tensor '{tensor.name}' has {found} of {wanted} bytes there. "
            f"Copy or export the model again."
        )


def _point(tensor: onnx.TensorProto, name: str, offset: int, length: int) -> None:
    """Let a tensor lie in another file."""
    import onnx

    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(field)
    tensor.ClearField("uint64_data")
    del tensor.external_data[:]
    for key, value in (("location", name), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    tensor.data_location = onnx.TensorProto.EXTERNAL
