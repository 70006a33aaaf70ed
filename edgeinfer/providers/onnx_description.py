"""What an ONNX file says of itself, for runtimes that do not hand it on: tensors and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer import cache
from edgeinfer.artifact import precision_of, read_graph
from edgeinfer.records import dataclass
from edgeinfer.spec import TensorSpec

_KIND = "descriptions"


@dataclass(frozen=True)
class Description:
    """The tensors as ONNX Runtime would name them; an unknown rank is None."""

    inputs: tuple[tuple[str, str, tuple[int | str, ...] | None], ...]
    outputs: tuple[tuple[str, str, tuple[int | str, ...] | None], ...]
    metadata: Mapping[str, str]
    precision: str


def described(path: Path, sha256: str) -> Description:
    """Describe a file; remembered by its content where that is known.

    Raises:
        ModelFileError: if it cannot be parsed.
    """
    known = cache.recall(_KIND, sha256) if sha256 else None
    if known is not None:
        try:
            return Description(
                _listed(known["inputs"]),
                _listed(known["outputs"]),
                {str(key): str(value) for key, value in known["metadata"].items()},
                str(known["precision"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # a damaged note is as good as none
    found = _describe(read_graph(path))
    if sha256:
        cache.note(
            _KIND,
            sha256,
            {
                "inputs": found.inputs,
                "outputs": found.outputs,
                "metadata": dict(found.metadata),
                "precision": found.precision,
            },
        )
    return found


def _listed(items: Any) -> tuple[tuple[str, str, tuple[int | str, ...] | None], ...]:
    return tuple(
        (str(name), str(dtype), None if shape is None else tuple(shape))
        for name, dtype, shape in items
    )


def _describe(model: Any) -> Description:
    held = {tensor.name for tensor in model.graph.initializer}
    return Description(
        tuple(_tensor(item) for item in model.graph.input if item.name not in held),
        tuple(_tensor(item) for item in model.graph.output),
        {item.key: item.value for item in model.metadata_props},
        precision_of(model),
    )


def _tensor(item: Any) -> tuple[str, str, tuple[int | str, ...] | None]:
    import onnx

    if not item.type.HasField("tensor_type"):
        return item.name, f"{item.type.WhichOneof('value')}(...)", ()
    tensor = item.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError:
        dtype = "object"
    if dtype in ("object", "bfloat16") or dtype.startswith(("float8", "int4", "uint4", "float4")):
        # Named as ONNX Runtime names it; refused when a binding needs it.
        name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        return item.name, f"tensor({name})", ()
    if not tensor.HasField("shape"):
        return item.name, dtype, None
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"dim{index}"
        for index, dim in enumerate(tensor.shape.dim)
    )
    return item.name, dtype, shape


def merged(
    model: Description, program: Any
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs, with the sizes that OpenVINO found where the file leaves them open."""
    both = []
    for items, ports in ((model.inputs, program.inputs), (model.outputs, program.outputs)):
        ordered = ports_of(ports, [name for name, _, _ in items])
        both.append(tuple(_merge(*pair) for pair in zip(items, ordered, strict=True)))
    return both[0], both[1]


def ports_of(ports: Any, names: Sequence[str]) -> list[Any]:
    """OpenVINO's port of each tensor: by name, or by place where it has renamed one."""
    by_name = {name: port for port in ports for name in port.names}
    return [by_name.get(name, port) for name, port in zip(names, ports, strict=True)]


def _merge(item: tuple[str, str, tuple[int | str, ...] | None], port: Any) -> TensorSpec:
    name, dtype, shape = item
    partial = port.get_partial_shape()
    if partial.rank.is_dynamic:
        return TensorSpec(name, dtype, shape or ())
    sizes: list[int | str] = []
    for index, dim in enumerate(partial):
        said = shape[index] if shape is not None and index < len(shape) else f"dim{index}"
        sizes.append(dim.get_length() if dim.is_static else said)
    return TensorSpec(name, dtype, tuple(sizes))
