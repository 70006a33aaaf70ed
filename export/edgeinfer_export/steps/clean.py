"""Bring a graph into the form that every later step and every runtime reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    import onnx

# ONNX Runtime 1.23, the oldest that is supported, reads IR version 10 in all its builds.
MAX_IR_VERSION = 10
# Before IR version 4 every weight had to be a graph input, which keeps runtimes from folding it.
_MIN_IR_VERSION = 8
# Scale and zero point per channel came with QuantizeLinear-13.
MIN_QDQ_OPSET = 13


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model with the same nodes, in a form that is the same on every machine.

    Weights are no longer graph inputs, unused ones are gone, every node has a name of its own,
    shapes are inferred, the IR version is one that old runtimes read. What exporters leave behind
    about the machine (stack traces, file names of the training code) is gone.

    Raises:
        ModelFileError: if the shapes in the graph contradict each other.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = max(_MIN_IR_VERSION, min(copy.ir_version, MAX_IR_VERSION))
    weights = {tensor.name for tensor in copy.graph.initializer}
    inputs = [value for value in copy.graph.input if value.name not in weights]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    _drop_unused_weights(copy)
    _forget_origin(copy)
    name_nodes(copy)
    return infer_shapes(copy)


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add the shapes of all tensors that can be inferred.

    Where a declared shape contradicts what the nodes compute, the nodes are right: a runtime only
    warns about it, but who plans buffers by it is misled.

    Raises:
        ModelFileError: if the shapes in the graph contradict each other.
    """
    undeclared = _without_declared(model)
    try:
        inferred = _infer(undeclared)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(f"The shapes in this graph contradict each other: {first}.") from error
    declared = {value.name: value for value in model.graph.output}
    for value in inferred.graph.output:
        _settle(value, declared[value.name])
    try:
        # What is declared of inner tensors may tell more: of operators that onnx does not know.
        del inferred.graph.value_info[:]
        inferred.graph.value_info.extend(model.graph.value_info)
        return _infer(inferred)
    except Exception:  # it contradicts the nodes
        del inferred.graph.value_info[:]
        return _infer(inferred)


def _infer(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _without_declared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which only inputs and weights have shapes."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    return copy


def _settle(value: onnx.ValueInfoProto, declared: onnx.ValueInfoProto) -> None:
    """Complete an inferred shape by what was declared, where the two agree."""
    if not value.type.HasField("tensor_type") or not declared.type.HasField("tensor_type"):
        return
    kind, said = value.type.tensor_type, declared.type.tensor_type
    if not kind.elem_type:
        kind.elem_type = said.elem_type
    if not kind.HasField("shape"):
        if said.HasField("shape"):
            kind.shape.CopyFrom(said.shape)
        return
    if len(kind.shape.dim) != len(said.shape.dim):
        return
    for dim, other in zip(kind.shape.dim, said.shape.dim, strict=True):
        if not dim.HasField("dim_value"):
            dim.CopyFrom(other)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node without a name of its own one that is not taken."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def raise_opset(model: onnx.ModelProto, version: int = MIN_QDQ_OPSET) -> onnx.ModelProto:
    """Convert a model of an older opset; a newer one stays as it is.

    Raises:
        ModelFileError: if onnx cannot convert it.
    """
    import onnx

    if opset_of(model) >= version:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, version)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"The model has opset {opset_of(model)}; narrow precisions need {version}, and onnx "
            f"cannot convert it ({first[:200]}). Export it from its framework for opset {version} "
            f"or newer."
        ) from error
    converted.ir_version = model.ir_version
    return clean(converted)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that a model uses; 0 where it uses none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def drop_unused_opsets(model: onnx.ModelProto) -> None:
    """Forget operator sets that no node uses: optimizers list everything that they know."""
    from edgeinfer.artifact import nodes_of

    used = {"" if node.domain == "ai.onnx" else node.domain for node in nodes_of(model.graph)}
    for function in model.functions:
        used.update(node.domain for node in function.node)
        used.add(function.domain)
    kept = [o for o in model.opset_import if o.domain in ("", "ai.onnx") or o.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _drop_unused_weights(model: onnx.ModelProto) -> None:
    """Training leaves counters behind that nothing reads; runtimes warn about each of them."""
    from edgeinfer.artifact import nodes_of

    used = {name for node in nodes_of(model.graph) for name in node.input}
    used.update(value.name for value in model.graph.output)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    if len(kept) < len(model.graph.initializer):
        # Subgraphs may end in an outer tensor without a node between: then all stay.
        if any(
            attribute.HasField("g") for node in model.graph.node for attribute in node.attribute
        ):
            return
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)


def _forget_origin(model: onnx.ModelProto) -> None:
    from edgeinfer.artifact import nodes_of

    model.graph.doc_string = ""
    for node in nodes_of(model.graph):
        node.doc_string = ""
        if hasattr(node, "metadata_props"):
            del node.metadata_props[:]
