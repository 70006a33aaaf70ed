"""Outputs that are no tensors: the maps that skl2onnx puts around scores are taken off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.spec import SCHEMA
from edgeinfer_export.quantize.session import Session

if TYPE_CHECKING:
    import onnx

_SHOWN = 12


def tensors_out(
    what: str, model: onnx.ModelProto
) -> tuple[onnx.ModelProto, tuple[str, ...], list[str]]:
    """The model with a tensor of scores in place of each list of maps from class to score.

    The class that is ranked first, which classifiers give beside it, goes: scores say it, too.

    Args:
        what: the model, in messages.

    Returns:
        A copy, or the model itself where every output is a tensor; what to tell; and the names of
        the classes, empty where there are none or scores for several targets.

    Raises:
        ModelFileError: if an output is another sequence, map or optional, naming it.
    """
    import onnx

    odd = [value.name for value in model.graph.output if not value.type.HasField("tensor_type")]
    if not odd:
        return model, (), []
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    makers = {name: node for node in copy.graph.node for name in node.output}
    found = {name: _taken_off(what, copy, name, makers.get(name)) for name in odd}
    notes = tuple(
        f"the output '{name}' was a list of maps from class to score; now it is a tensor with a "
        f"column for each of {', '.join(classes[:_SHOWN])}{', ...' if classes[_SHOWN:] else ''}"
        for name, classes in found.items()
    )
    others = [value for value in copy.graph.output if value.name not in odd]
    if len(odd) > 1 or len(others) > 1:
        return copy, notes, []
    for value in others:
        copy.graph.output.remove(value)
        notes += (f"the output '{value.name}' was left out: the highest score says the same",)
    return copy, notes, found[odd[0]]


def meaning(path: Path, model: onnx.ModelProto, classes: list[str]) -> dict[str, Any] | None:
    """What a classifier of numbers means, in the JSON form of `edgeinfer.spec`.

    Returns:
        None where it takes anything but one table of numbers.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if not classes or len(inputs) != 1:
        return None
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    if len(sizes) != 2:
        return None
    rows = np.random.default_rng(0).normal(size=(sizes[0] or 16, sizes[1] or 1))
    try:
        scores = Session(path).run({inputs[0].name: rows.astype(np.float32)})
    except EdgeInferError:  # it takes other numbers, or texts
        return None
    (values,) = scores.values()
    sure = values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-3)
    head = "softmax" if sure else "logits"
    table = {"name": inputs[0].name, "kind": "tensor", "dtype": "float32"}
    known = {"task": "classify", "head": head, "labels": classes, "inputs": [table]}
    return {"schema": SCHEMA, **known}


def _taken_off(
    what: str, model: onnx.ModelProto, name: str, maker: onnx.NodeProto | None
) -> list[str]:
    """Put scores in place of a ZipMap's output; the names of its classes."""
    import onnx

    value = next(value for value in model.graph.output if value.name == name)
    if maker is None or (maker.domain, maker.op_type) != ("ai.onnx.ml", "ZipMap"):
        kind = str(value.type.WhichOneof("value")).removesuffix("_type")
        raise ModelFileError(
            f"The output '{name}' of {what} is a {kind}, not a tensor: export the model again with "
            f"a tensor for each of its parts."
        )
    said = {item.name: onnx.helper.get_attribute_value(item) for item in maker.attribute}
    texts = [text.decode(errors="replace") for text in said.get("classlabels_strings", ())]
    classes = texts or [str(number) for number in said.get("classlabels_int64s", ())]
    identity = onnx.helper.make_node("Identity", [maker.input[0]], [name])
    model.graph.node.remove(maker)
    model.graph.node.append(identity)
    shape: list[str | int | None] = ["batch", len(classes)]
    value.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return classes
