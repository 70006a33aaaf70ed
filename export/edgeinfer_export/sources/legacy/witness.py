"""Readers that are independent of ours: what parity of legacy models is measured against.

None of them is needed for an export: where one cannot be had, or cannot read a model, a note says
that nothing checked it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import EdgeInferError
from edgeinfer_export.sources.base import Reference, Request
from edgeinfer_export.toolrooms import open_room

Witness = tuple[Reference | None, tuple[str, ...]]


def opencv(
    request: Request,
    framework: str,
    files: Sequence[Path],
    outputs: Mapping[str, str],
    **given: Any,
) -> Witness:
    """OpenCV 4's importers of Caffe and Darknet.

    Args:
        files: the network description and the weights.
        outputs: names of the graph's outputs, to the layers that make them.
    """
    order = {
        "framework": framework,
        "files": [str(path.resolve()) for path in files],
        "outputs": dict(outputs),
        **given,
    }
    return _open(request, "opencv4", "opencv_model.py", order, tuple(outputs))


def mxnet(request: Request, files: Sequence[Path], outputs: Mapping[str, int]) -> Witness:
    """MXNet itself.

    Args:
        files: the symbol and the parameters.
        outputs: names of the graph's outputs, to their numbers among the symbol's.
    """
    order = {"files": [str(path.resolve()) for path in files], "outputs": dict(outputs)}
    return _open(request, "mxnet", "mxnet_model.py", order, tuple(outputs))


def paddle(request: Request, files: Sequence[Path], outputs: Mapping[str, int]) -> Witness:
    """Paddle Inference.

    Args:
        files: the program and its combined parameters; or the folder of both.
        outputs: names of the graph's outputs, to their numbers among the program's.
    """
    order = {"files": [str(path.resolve()) for path in files], "outputs": dict(outputs)}
    return _open(request, "paddle", "paddle_model.py", order, tuple(outputs))


def _open(
    request: Request, room: str, script: str, order: Mapping[str, Any], outputs: tuple[str, ...]
) -> Witness:
    if not outputs:
        return None, (_nobody("none of its outputs has the same form elsewhere"),)
    try:
        opened = open_room(room, request.say)
        found = opened.reference(script, order, outputs, request.folder, request.say)
    except EdgeInferError as error:
        return None, (_nobody(str(error)),)
    return found, ()


def _nobody(reason: str) -> str:
    return (
        f"no independent reader checked what came out, the ONNX file is compared with the graph "
        f"as converted only: {reason.rstrip('.')}."
    )
