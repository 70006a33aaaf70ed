"""Bring a graph to operator versions that the oldest supported runtimes read, and prove it.

ONNX Runtime 1.23.0 was tried: it opens opset 23 with IR version 11 and refuses opset 24 and IR
version 12. Opset 21 is the last of IR version 10 (https://onnx.ai/onnx/intro/converters.html), and
TensorRT of JetPack 6 reads no newer one, so that is the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeinfer.artifact import nodes_of, precision_of
from edgeinfer.errors import ModelFileError
from edgeinfer_export.steps.clean import MIN_QDQ_OPSET, clean, opset_of

if TYPE_CHECKING:
    import onnx

MAX_OPSET = 21
# What is older than QDQ per channel goes here: all that this project reads and writes is in it.
USUAL_OPSET = 17

# Whether two graphs compute the same, found by running them.
Same = Callable[["onnx.ModelProto", "onnx.ModelProto"], bool]


def fit_opset(model: onnx.ModelProto, same: Same) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A copy within the supported operator sets, or the model itself where it is.

    Old ones are raised where the model is FP32: halves and scales come out of conversions rounded.

    Args:
        same: compares two graphs by running them.

    Returns:
        The model, and what to tell.

    Raises:
        ModelFileError: if it is newer and cannot be lowered, naming the operators.
    """
    given = opset_of(model)
    if given > MAX_OPSET:
        return _lowered(model, same), (f"opset {given} was lowered to {MAX_OPSET}",)
    if 0 < given < MIN_QDQ_OPSET and precision_of(model) == "fp32":
        raised = _converted(model, USUAL_OPSET)
        if raised is not None and same(model, raised):
            return raised, (f"opset {given} was raised to {USUAL_OPSET}",)
        return model, (
            f"opset {given} stays: onnx's converter cannot raise it without changing the model",
        )
    return model, ()


def _lowered(model: onnx.ModelProto, same: Same) -> onnx.ModelProto:
    """By onnx's converter, else by the older version's number where every node reads the same."""
    for attempt in (_converted, _renumbered):
        lowered = attempt(model, MAX_OPSET)
        if lowered is not None and same(model, lowered):
            return lowered
    blamed = _newer_nodes(model)
    raise ModelFileError(
        f"The model uses opset {opset_of(model)}; ONNX Runtime 1.23 and JetPack 6 read "
        f"{MAX_OPSET}, and it cannot be lowered because of "
        f"{', '.join(blamed) or 'how its operators changed'}. "
        f"Export it from its framework for opset {MAX_OPSET} or older (in PyTorch: "
        f"opset_version={USUAL_OPSET})."
    )


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto | None:
    import onnx

    try:
        model = _without_functions(model)
        converted = onnx.version_converter.convert_version(model, version)
        converted.ir_version = model.ir_version
        del converted.metadata_props[:]
        converted.metadata_props.extend(model.metadata_props)
        onnx.checker.check_model(converted)
        return clean(converted)
    except Exception:  # whatever it raises, there is no converted model
        return None


def _renumbered(model: onnx.ModelProto, version: int) -> onnx.ModelProto | None:
    """The same nodes under an older number: most operators only learned new types since."""
    import onnx

    if _newer_nodes(model):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(_without_functions(model))
    for item in copy.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = version
    try:
        onnx.checker.check_model(copy)
        return clean(copy)
    except Exception:  # an attribute or input that the older operator does not know
        return None


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Functions of the model's own name operator sets of their own: their nodes come in."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _newer_nodes(model: onnx.ModelProto) -> list[str]:
    """Nodes whose operator does not exist in the limit's operator set, with their names."""
    import onnx

    found = []
    for node in nodes_of(model.graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        try:
            onnx.defs.get_schema(node.op_type, MAX_OPSET, "")
        except onnx.defs.SchemaError:
            found.append(f"{node.op_type} ('{node.name or node.output[0]}')")
    return list(dict.fromkeys(found))[:8]
