"""Preprocessing in the graph: a variant of a model that takes frames as decoders deliver them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.preprocess.fold import Folded, fold
from edgeinfer.preprocess.planes import spec_of_bytes
from edgeinfer.preprocess.surgery import Names, add_constant, remove, rewire, uses
from edgeinfer.records import dataclass
from edgeinfer.spec import InputSpec

if TYPE_CHECKING:
    import onnx

    from edgeinfer.frames import Array

# The oldest opset that ONNX Runtime promises to run, and the first whose Add and Mul broadcast.
_OLDEST_OPSET = 7


@dataclass(frozen=True, eq=False)
class Embedded:
    """A model that takes bytes.

    Attributes:
        model: the `onnx.ModelProto`; its picture input, of the same name, takes
            `(N, H, W, 3)` uint8 BGR, or `(N, H, W, 1)` uint8 grey.
        spec: of that input.
        how: ``folded`` where nothing but a transpose and a cast was added, ``nodes`` where pixels
            are also reordered, scaled or shifted by nodes of their own (a mean always is).
    """

    model: onnx.ModelProto
    spec: InputSpec
    how: str


def embed(model: onnx.ModelProto, spec: InputSpec) -> Embedded:
    """Rewrite a copy of a model so that channel order, layout, scale and mean lie in the graph.

    Resizing and padding stay on the host. Scale and order go into the first convolution's weights
    (or the scale into the first QuantizeLinear) where the results stay the same; else they become
    nodes, computed in float32 as on the host.

    Args:
        model: is left as it is; tensors in other files are neither read nor changed.
        spec: of the input that takes pictures, as the model has it.

    Raises:
        SpecError: if the input takes no float pictures, or the model does not fit the spec.
    """
    import onnx

    if spec.kind != "image" or not spec.dtype.startswith("float"):
        raise SpecError(
            f"The input '{spec.name}' is of kind {spec.kind} and dtype {spec.dtype}; preprocessing "
            f"can move into the graph only for pictures fed as floats. Use preprocess 'host'."
        )
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _check_opset(changed)
    given = _given(changed.graph, spec)
    names = Names(changed.graph)
    folded = fold(changed, spec, names)
    chain = _Chain(changed, spec.name, names)
    if spec.layout == "nchw":
        chain.add("Transpose", perm=[0, 3, 1, 2])
    if spec.color == "rgb" and not folded.order:
        _swap(chain, 1 if spec.layout == "nchw" else 3)
    arithmetic = _arithmetic(chain, spec, folded)
    rewire(changed.graph, spec.name, chain.tip)
    for node in reversed(chain.nodes):
        changed.graph.node.insert(0, node)
    _take_bytes(changed.graph, given, spec)
    plain = not arithmetic and all(n.op_type in ("Transpose", "Cast") for n in chain.nodes)
    return Embedded(changed, spec_of_bytes(spec), "folded" if plain else "nodes")


class _Chain:
    """Nodes that follow one another, each reading the one before it."""

    def __init__(self, model: onnx.ModelProto, tip: str, names: Names) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tip = tip
        self._stem = f"{tip}_preprocess"
        self._model = model
        self._names = names

    def add(
        self,
        op_type: str,
        operand: Array | None = None,
        perm: list[int] | None = None,
        to: int | None = None,
        axis: int | None = None,
    ) -> None:
        """Add a node; `operand` is its second input."""
        from onnx import helper

        inputs = [self.tip]
        if operand is not None:
            inputs.append(self._names.fresh(f"{self._stem}_{op_type}_operand"))
            add_constant(self._model, inputs[1], operand)
        self.tip = self._names.fresh(f"{self._stem}_{op_type}")
        name = self._names.fresh(f"{self._stem}_{op_type}_node")
        node = helper.make_node(op_type, inputs, [self.tip], name=name)
        for key, value in (("perm", perm), ("to", to), ("axis", axis)):
            if value is not None:
                node.attribute.append(helper.make_attribute(key, value))
        self.nodes.append(node)


def _swap(chain: _Chain, axis: int) -> None:
    """From BGR to RGB while the pixels are bytes."""
    turned = axis == 3
    # Gather copies whole planes where the channels come first (0.07 ms at 640x640), but single
    # bytes where they come last (9 ms; with two transposes around it 0.7).
    if turned:
        chain.add("Transpose", perm=[0, 3, 1, 2])
    chain.add("Gather", np.array([2, 1, 0], np.int64), axis=1)
    if turned:
        chain.add("Transpose", perm=[0, 2, 3, 1])


def _arithmetic(chain: _Chain, spec: InputSpec, folded: Folded) -> bool:
    """Add the casts and what is left of (pixel * scale - mean) / std.

    Returns:
        Whether anything but a cast was needed.
    """
    import onnx

    kinds = {
        "float16": onnx.TensorProto.FLOAT16,
        "float32": onnx.TensorProto.FLOAT,
        "float64": onnx.TensorProto.DOUBLE,
    }
    factors, offsets = (
        np.array(part, np.float64) for part in zip(*spec.per_channel(), strict=True)
    )
    if folded.order and spec.color == "rgb":
        factors, offsets = factors[::-1], offsets[::-1]
    if folded.scale:
        factors, offsets = np.ones_like(factors), offsets / factors
    scaling, shifting = (factors != 1).any(), (offsets != 0).any()
    if not (scaling or shifting):
        chain.add("Cast", to=kinds[spec.dtype])
        return False
    work = "float64" if spec.dtype == "float64" else "float32"
    chain.add("Cast", to=kinds[work])
    if scaling:
        chain.add("Mul", _operand(factors, work, spec.layout))
    if shifting:
        chain.add("Add", _operand(offsets, work, spec.layout))
    if work != spec.dtype:
        chain.add("Cast", to=kinds[spec.dtype])
    return True


def _operand(values: Array, dtype: str, layout: str) -> Array:
    """A number for all channels, or one for each: `(1, C, 1, 1)` or `(1, 1, 1, C)`."""
    if (values == values[0]).all():
        return np.array(values[0], dtype)
    shape = (1, -1, 1, 1) if layout == "nchw" else (1, 1, 1, -1)
    return values.astype(dtype).reshape(shape)


def _check_opset(model: onnx.ModelProto) -> None:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        raise SpecError(
            f"The model uses opset {opset}; preprocessing can move into the graph from opset "
            f"{_OLDEST_OPSET} on. Use preprocess 'host', or export the model with a newer opset."
        )


def _given(graph: onnx.GraphProto, spec: InputSpec) -> onnx.ValueInfoProto:
    """The input that takes pictures, checked against the spec."""
    import onnx

    stored = {item.name for item in graph.initializer}
    inputs = {item.name: item for item in graph.input if item.name not in stored}
    given: onnx.ValueInfoProto | None = inputs.get(spec.name)
    if given is None:
        raise SpecError(
            f"The model has no input '{spec.name}' to feed. Its inputs: {', '.join(inputs)}."
        )
    kind = given.type.tensor_type
    wanted = {"float16": onnx.TensorProto.FLOAT16, "float32": onnx.TensorProto.FLOAT}
    if kind.elem_type != wanted.get(spec.dtype, onnx.TensorProto.DOUBLE):
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise SpecError(
            f"The input '{spec.name}' is {name} in the model and {spec.dtype} in the spec. "
            f"Correct dtype with --spec."
        )
    dims = [item.dim_value or item.dim_param or "?" for item in kind.shape.dim]
    channel = 1 if spec.layout == "nchw" else 3
    if kind.HasField("shape") and (
        len(dims) != 4 or (isinstance(dims[channel], int) and dims[channel] != spec.channels)
    ):
        raise SpecError(
            f"The input '{spec.name}' has the shape {dims} in the model; the spec says "
            f"{spec.layout} with {spec.channels} channel(s). Correct layout or color with --spec."
        )
    if any(use.node is None and not use.inner for use in uses(graph, spec.name)):
        raise SpecError(
            f"The input '{spec.name}' is also an output of the model, which would change. "
            f"Use preprocess 'host'."
        )
    return given


def _take_bytes(graph: onnx.GraphProto, given: onnx.ValueInfoProto, spec: InputSpec) -> None:
    """Declare the input as `(N, H, W, C)` uint8; dimensions that vary go on to vary."""
    import onnx

    kind = given.type.tensor_type
    kind.elem_type = onnx.TensorProto.UINT8
    dims = []
    for index in (0, 2, 3, 1) if spec.layout == "nchw" else (0, 1, 2, 3):
        dim = onnx.TensorShapeProto.Dimension()
        if kind.HasField("shape"):
            dim.CopyFrom(kind.shape.dim[index])
        dims.append(dim)
    dims[3].dim_value = spec.channels
    del kind.shape.dim[:]
    kind.shape.dim.extend(dims)
    remove(graph.value_info, given.name)
