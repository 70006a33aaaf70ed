"""Operators that nothing here runs: named with their place in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError

if TYPE_CHECKING:
    import onnx

# Domains that the ONNX package has all operators of, and those that ONNX Runtime adds
# (https://github.com/microsoft/onnxruntime, include/onnxruntime/core/graph/constants.h).
_STANDARD = ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training")
_RUNTIME = (
    "com.microsoft",
    "com.microsoft.experimental",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
)
_MOST = 6


def refuse_unknown(path: Path, model: onnx.ModelProto, refusal: Exception) -> None:
    """Say which operators made a model be refused, if some did.

    Args:
        refusal: what the runtime or the checker said.

    Raises:
        ModelFileError: naming each operator, its domain, and where it is.
    """
    text = str(refusal)
    own = {(function.domain, function.name) for function in model.functions}
    found = [
        f"{node.op_type} of {_domain(node.domain, opsets)} ({_title(node)}, {place})"
        for node, place, opsets in _nodes(model)
        if (node.domain, node.op_type) not in own and _is_unknown(node, opsets, text)
    ]
    if not found:
        return
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    raise ModelFileError(
        f"{path} needs operators that ONNX Runtime does not have: {', '.join(found[:_MOST])}"
        f"{more}. Export the model from its framework with standard operators in their place, or "
        f"put what they compute into the file as functions of the model (ModelProto.functions)."
    ) from refusal


def _nodes(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, str, Mapping[str, int]]]:
    """Each node, its place in words, and the versions of the domains there."""
    opsets = {item.domain: item.version for item in model.opset_import}
    for node, place in _placed(model.graph.node, "the graph"):
        yield node, place, opsets
    for function in model.functions:
        versions = {item.domain: item.version for item in function.opset_import}
        for node, place in _placed(
            function.node, f"the function {function.domain}:{function.name}"
        ):
            yield node, place, versions


def _placed(nodes: Sequence[onnx.NodeProto], where: str) -> Iterator[tuple[onnx.NodeProto, str]]:
    for number, node in enumerate(nodes, 1):
        yield node, f"number {number} of {len(nodes)} in {where}"
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for graph in (*inner, *attribute.graphs):
                yield from _placed(graph.node, f"the {attribute.name} of {_title(node)}")


def _title(node: onnx.NodeProto) -> str:
    made = ", ".join(f"'{name}'" for name in node.output if name)
    return f"node '{node.name}', which gives {made}" if node.name else f"the node that gives {made}"


def _domain(domain: str, opsets: Mapping[str, int]) -> str:
    if domain in _STANDARD:
        return f"{domain or 'ai.onnx'} {opsets.get(domain, '')}".strip()
    return f"the domain '{domain}'"


def _is_unknown(node: onnx.NodeProto, opsets: Mapping[str, int], refusal: str) -> bool:
    import onnx

    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain in _STANDARD:
        if domain not in opsets:
            return False
        try:
            schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
        except onnx.defs.SchemaError:
            return True
        return bool(schema.deprecated)
    # Of its own domains the runtime alone knows what is in them.
    return domain not in _RUNTIME or f"{domain}:{node.op_type}(" in refusal
