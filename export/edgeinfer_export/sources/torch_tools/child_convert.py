"""PyTorch's two exporters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.sources.torch_tools.child_program import Program, first_line

# What ONNX Runtime 1.23 and JetPack 6 read; the exporters' own minimum and usual opset.
_DYNAMO_OPSET = 18
_TORCHSCRIPT_OPSET = 17


def convert(program: Program, exporter: str, path: Path) -> None:
    """Write a program as ONNX.

    Raises:
        ModelFileError: with what the exporter says, the operator that it does not know included.
    """
    need("onnxscript")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if exporter == "dynamo":
                _dynamo(program, path)
            else:
                _torchscript(program, path)
    except Exception as error:
        raise ModelFileError(_said(error)) from error


def _dynamo(program: Program, path: Path) -> None:
    import torch

    shapes = None
    args: tuple[Any, ...] = ()
    if program.exported is None:
        args = tuple(item.example for item in program.inputs)
        shapes = (
            tuple(
                {axis: dim for axis, dim in enumerate(item.dims) if isinstance(dim, str)}
                for item in program.inputs
            ),
        )
    made = torch.onnx.export(
        program.exported or _wrapped(program),
        args,
        dynamo=True,
        verbose=False,
        opset_version=_DYNAMO_OPSET,
        input_names=[item.name for item in program.inputs],
        output_names=list(program.outputs),
        dynamic_shapes=shapes,
        external_data=False,
    )
    # Without external data: bigger models than one message holds are refused by name.
    made.save(str(path), external_data=False)


def _torchscript(program: Program, path: Path) -> None:
    import torch

    axes = {
        item.name: {axis: dim for axis, dim in enumerate(item.dims) if isinstance(dim, str)}
        for item in program.inputs
    }
    scripted = isinstance(program.exported, torch.jit.ScriptModule)
    torch.onnx.export(
        program.exported if scripted else _wrapped(program),
        tuple(item.example for item in program.inputs),
        str(path),
        dynamo=False,
        opset_version=_TORCHSCRIPT_OPSET,
        input_names=[item.name for item in program.inputs],
        output_names=list(program.outputs),
        dynamic_axes={name: named for name, named in axes.items() if named},
    )


def _wrapped(program: Program) -> Any:
    """The program as a module that takes its inputs in order and gives its outputs in order."""
    import torch

    class Ordered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = program.module

        def forward(self, *tensors: Any) -> Any:
            return tuple(tensor for _, tensor in program.run(tensors))

    return Ordered().eval()


def _said(error: BaseException) -> str:
    """The line that tells: exporters put the cause last in a chain, and print much before it."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        cause = cause.__cause__
    return first_line(seen[-1])
