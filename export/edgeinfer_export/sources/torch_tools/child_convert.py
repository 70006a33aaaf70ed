"""PyTorch's two exporters."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.sources.torch_tools.child_program import Program, first_line, named

# What ONNX Runtime 1.23 and JetPack 6 read; the exporters' own minimum and usual opset.
_DYNAMO_OPSET = 18
_TORCHSCRIPT_OPSET = 17


def convert(program: Program, exporter: str, path: Path) -> tuple[str, ...]:
    """Write a program as ONNX.

    Returns:
        Notes on what the exporter fixed for good, for people.

    Raises:
        ModelFileError: with what the exporter says, the operator that it does not know included.
    """
    need("onnxscript")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if exporter == "dynamo":
                _dynamo(program, path)
            else:
                _torchscript(program, path)
    except Exception as error:
        raise ModelFileError(_said(program, error)) from error
    return _fixed(caught)


def _fixed(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Decisions of the code that tracing took once and for all, by place."""
    import torch

    places = [
        f"{Path(item.filename).name}, line {item.lineno}"
        for item in caught
        if issubclass(item.category, torch.jit.TracerWarning) and "onnx" not in item.filename
    ]
    shown = list(dict.fromkeys(places))[:3]
    if not shown:
        return ()
    return (
        f"tracing fixed what the code decides by values or sizes ({'; '.join(shown)}): for inputs "
        f"on which it would decide otherwise, the ONNX file may be wrong",
    )


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
            # Not `program.run`: its no_grad would wrap the graph into a submodule.
            found = named(program.call(*tensors), {item.name for item in program.inputs})
            return tuple(tensor for _, tensor in found)

    return Ordered().eval()


def _said(program: Program, error: BaseException) -> str:
    """What an exporter says, and where in the model's code it stumbled.

    The cause lies last in a chain of exceptions; the first says which node it was.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__
    text = "\n".join(str(item) for item in chain)
    node = re.search(r"translating node %(\w+)", text)
    place = _last_line(text)
    if node is not None:
        with contextlib.suppress(Exception):
            place = _place(program, node[1])
    return first_line(chain[-1]).rstrip(".") + (f" (at {place})." if place else ".")


def _place(program: Program, name: str) -> str:
    """The submodule and the line of code that a node of the exported graph comes from."""
    import torch

    exported = program.exported
    if exported is None:
        examples = tuple(item.example for item in program.inputs)
        exported = torch.export.export(_wrapped(program), examples)
    # An operator that is taken apart leaves one of nearly its name: linalg_svdvals, _linalg_svd.
    core = re.sub(r"_\d+$", "", name).strip("_")
    node = next(n for n in exported.graph.nodes if n.name.strip("_").startswith(core))
    modules = [
        str(path).removeprefix("module.")
        for path, _ in node.meta.get("nn_module_stack", {}).values()
        if path
    ]
    line = _last_line(node.meta.get("stack_trace") or "")
    return ", ".join([*([f"'{modules[-1]}'"] if modules else []), *([line] if line else [])])


def _last_line(trace: str) -> str:
    """The innermost line of a stack trace that is neither PyTorch's nor ours."""
    import torch

    others = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    lines = re.findall(r'File "([^"<]+)", line (\d+)', trace)
    own = [f"{Path(file).name}, line {line}" for file, line in lines if not file.startswith(others)]
    return own[-1] if own else ""
