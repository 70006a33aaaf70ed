"""Readers that are independent of ours: what parity of legacy models is measured against.

None of them is needed for an export: where one cannot be had, or cannot read a model, a note says
that nothing checked it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer_export.sources.base import Reference, Request
from edgeinfer_export.toolrooms import open_room

if TYPE_CHECKING:
    import onnx

Witness = tuple[Reference | None, tuple[str, ...]]


def opencv(
    request: Request,
    model: onnx.ModelProto,
    framework: str,
    files: Sequence[Path],
    outputs: Mapping[str, str],
    **given: Any,
) -> Witness:
    """OpenCV 4's importers of Caffe and Darknet.

    Args:
        model: the converted graph.
        files: the network description and the weights.
        outputs: names of the graph's outputs, to the layers that make them.
        given: how a detector's maps are decoded.
    """
    shapes = {name: list(shape) for name, shape in _shapes(model.graph.output).items()}
    order = {"framework": framework, "shapes": shapes, **given}
    return _open(request, model, "opencv4", "opencv_model.py", files, outputs, order)


def mxnet(
    request: Request, model: onnx.ModelProto, files: Sequence[Path], outputs: Mapping[str, int]
) -> Witness:
    """MXNet itself.

    Args:
        model: the converted graph.
        files: the symbol and the parameters.
        outputs: names of the graph's outputs, to their numbers among the symbol's.
    """
    return _open(request, model, "mxnet", "mxnet_model.py", files, outputs)


def paddle(
    request: Request, model: onnx.ModelProto, files: Sequence[Path], outputs: Mapping[str, int]
) -> Witness:
    """Paddle Inference.

    Args:
        model: the converted graph.
        files: the program and its combined parameters; or the folder of both.
        outputs: names of the graph's outputs, to their numbers among the program's.
    """
    return _open(request, model, "paddle", "paddle_model.py", files, outputs)


def _open(
    request: Request,
    model: onnx.ModelProto,
    room: str,
    script: str,
    files: Sequence[Path],
    outputs: Mapping[str, Any],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Witness:
    if not outputs:
        return None, (_nobody("no other reader gives its outputs in this form"),)
    order = {"files": [str(path.resolve()) for path in files], "outputs": dict(outputs), **given}
    try:
        opened = open_room(room, request.say)
        found = opened.reference(script, order, tuple(outputs), request.folder, request.say)
        why_not = _why_not(found, model)
    except EdgeInferError as error:
        return None, (_nobody(str(error)),)
    if why_not is not None:
        return None, (_nobody(f"{found.name} {why_not}"),)
    return found, ()


def _why_not(reference: Reference, model: onnx.ModelProto) -> str | None:
    """Why a reader cannot be compared with, from one run; None if it can."""
    inputs = _shapes(model.graph.input)
    if any(not isinstance(size, int) for shape in inputs.values() for size in shape):
        return None  # open dimensions: what fits them is not known here
    dtypes = _dtypes(model.graph.input)
    made = reference.run({name: np.ones(shape, dtypes[name]) for name, shape in inputs.items()})
    wanted = _shapes(model.graph.output)
    for name, value in made.items():
        if value.shape != wanted[name]:
            return f"gives '{name}' the shape {list(value.shape)}, not {list(wanted[name])}"
    return None


def _shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, tuple[Any, ...]]:
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param
            for dim in value.type.tensor_type.shape.dim
        )
        for value in values
    }


def _dtypes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, Any]:
    import onnx

    convert = onnx.helper.tensor_dtype_to_np_dtype
    return {value.name: convert(value.type.tensor_type.elem_type) for value in values}


def _nobody(reason: str) -> str:
    return (
        f"no independent reader checked what came out, the ONNX file is compared with the graph "
        f"as converted only: {reason.rstrip('.')}."
    )
