"""Programs out of PyTorch's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.sources.torch_tools.child_entry import build_module
from edgeinfer_export.sources.torch_tools.child_examples import (
    Parameter,
    example_tensor,
    find_inputs,
    parameters_of,
)
from edgeinfer_export.sources.torch_tools.child_program import (
    TAKE_STATE,
    Given,
    Program,
    first_line,
)
from edgeinfer_export.sources.torch_tools.child_weights import load_object, put_weights, state_of

Job = Mapping[str, Any]
# What a module trains besides its weights: a program that changes these was exported unready.
_TRAINING = ("running_mean", "running_var", "num_batches_tracked")


def open_entry(job: Job) -> Program:
    """A module that the user's function builds, with weights from a file.

    Raises:
        UsageError: if the function is missing or wrong, or a shape is.
        ModelFileError: if code or weights fail.
    """
    notes: list[str] = []
    module, sha256 = build_module(job["entry"], Path(job["folder"]))
    if job["weights"] is None:
        notes.append("no weights were given: they are those that the function leaves in the module")
    else:
        path = Path(job["weights"])
        state = state_of(path, load_object(path, job["trust"]), notes)
        put_weights(module, state, path, notes)
    return of_module(module, job["shapes"], notes, sha256)


def open_pickled(job: Job) -> Program:
    """A whole module that was pickled; the user trusts it.

    Raises:
        UsageError: if a shape is missing.
        ModelFileError: if its class is not here, or it holds no module.
    """
    import sys

    torch = need("torch")
    sys.path.insert(0, job["folder"])
    path, notes = Path(job["path"]), ["code inside the file was run, as --trust-pickle allows"]
    found = load_object(path, trust=True)
    if isinstance(found, Mapping):
        keys = [key for key in ("ema", "model", "module", "net") if key in found]
        key = next((key for key in keys if isinstance(found[key], torch.nn.Module)), None)
        if key is not None:
            notes.append(f"the module is the one under '{key}' in {path.name}")
            found = found[key]
    if not isinstance(found, torch.nn.Module):
        raise ModelFileError(
            f"{path} holds a {type(found).__name__}, not a module: give a function that builds it "
            f"with --entry module:callable, and this file with --weights."
        )
    return of_module(found, job["shapes"], notes)


def of_module(module: Any, shapes: Job, notes: list[str], sha256: str = "") -> Program:
    """A module as a program with the inputs that the user describes."""
    import torch

    module.eval().requires_grad_(False)
    kinds = {str(item.dtype) for item in module.parameters() if item.dtype.is_floating_point}
    if kinds & {"torch.float16", "torch.bfloat16", "torch.float64"}:
        notes.append(f"the weights are {', '.join(sorted(kinds))}; they were made float32")
        module.float()

    def caller(inputs: Sequence[Given]) -> Callable[..., Any]:
        names = [item.name for item in inputs]
        # Copies: some modules scale their input in place, and would find it scaled the next time.
        return lambda *tensors: module(
            **{name: tensor.clone() for name, tensor in zip(names, tensors, strict=True)}
        )

    def runs(inputs: Sequence[Given]) -> None:
        with torch.no_grad():
            caller(inputs)(*[item.example for item in inputs])

    inputs = find_inputs(parameters_of(module), shapes, runs)
    return Program(caller(inputs), inputs, module=module, notes=notes, sha256=sha256)


def open_torchscript(job: Job) -> Program:
    """A TorchScript file.

    Raises:
        UsageError: if a shape is missing or does not fit.
        ModelFileError: if it is damaged, or keeps state.
    """
    torch = need("torch")
    path = Path(job["path"])
    try:
        module = torch.jit.load(path, map_location="cpu").eval()
        schema = module.forward.schema
    except Exception as error:
        raise ModelFileError(
            f"{path} cannot be loaded as TorchScript ({first_line(error)}): it is damaged, cut "
            f"off, or made by a newer PyTorch than {torch.__version__}."
        ) from error
    graph = module.inlined_graph  # its nodes live as long as it does
    kept = sorted({node.s("name") for node in graph.findAllNodes("prim::SetAttr", True)})
    if kept:
        raise ModelFileError(
            f"{path} keeps state from one call to the next (its forward sets {', '.join(kept)}), "
            f"and an ONNX graph holds none: what it gives would be wrong from the second call on. "
            f"{TAKE_STATE}"
        )
    parameters = [_scripted(item) for item in schema.arguments[1:]]

    def runs(inputs: Sequence[Given]) -> None:
        with torch.no_grad():
            module(**{item.name: item.example for item in inputs})

    inputs = find_inputs(parameters, job["shapes"], runs)
    names = [item.name for item in inputs]
    ordered = [item.name for item in parameters[: len(names)]]
    if names != ordered:
        raise ModelFileError(
            f"{path} has optional inputs before the given ones: give shapes for "
            f"{', '.join(ordered)}, too."
        )
    return Program(
        lambda *tensors: module(*[tensor.clone() for tensor in tensors]),
        inputs,
        exported=module,
        exporters=("torchscript",),
        notes=["the dynamo exporter takes no TorchScript"],
    )


def _scripted(argument: Any) -> Parameter:
    kind = str(argument.type)
    plain = None if "Tensor" in kind else kind
    return Parameter(argument.name, not argument.has_default_value(), plain)


def open_program(job: Job) -> Program:
    """A program of torch.export.

    Raises:
        ModelFileError: if it is damaged, of a newer version, keeps state or was made for training.
    """
    torch = need("torch")
    path = Path(job["path"])
    try:
        program = torch.export.load(str(path))
    except Exception as error:
        raise ModelFileError(
            f"{path} cannot be loaded as an exported program ({first_line(error)}): it is damaged, "
            f"cut off, or made by another PyTorch than {torch.__version__}, which is here."
        ) from error
    # Without any decomposition: what changes in place becomes part of the signature.
    _check_pure(path, program.run_decompositions({}))
    leaves = _examples(program)
    wanted = program.graph_signature.user_inputs
    places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    run = program.module()
    structure = program.call_spec.in_spec

    def call(*tensors: Any) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        args, kwargs = torch.utils._pytree.tree_unflatten(filled, structure)
        return run(*args, **kwargs)

    inputs = tuple(Given(str(wanted[n]), leaves[n], tuple(leaves[n].shape)) for n in places)
    return Program(call, inputs, exported=program, fixed=True)


def _check_pure(path: Path, program: Any) -> None:
    """Refuse a program that changes its own buffers or its inputs."""
    signature = program.graph_signature
    changed = list(signature.buffers_to_mutate.values())
    if changed and all(str(name).endswith(_TRAINING) for name in changed):
        raise ModelFileError(
            f"{path} was exported in training mode: it changes {changed[0]} at each call. Call "
            f"model.eval() before torch.export.export()."
        )
    changed += list(signature.user_inputs_to_mutate.values())
    if changed:
        raise ModelFileError(
            f"{path} keeps state from one call to the next (it changes "
            f"{', '.join(map(str, changed[:4]))}), and an ONNX graph holds none. {TAKE_STATE}"
        )


def _examples(program: Any) -> list[Any]:
    """The inputs that it was exported with; where they were left out, noise of their shapes."""
    import torch

    if program.example_inputs is not None:
        found: list[Any] = torch.utils._pytree.tree_flatten(program.example_inputs)[0]
        return found
    values = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    return [
        example_tensor([_hint(size) for size in value.shape], value.dtype)
        if isinstance(value, torch.Tensor)
        else value
        for value in values
    ]


def _hint(size: Any) -> int:
    """The size that an open dimension had when the program was made."""
    if isinstance(size, int):
        return size
    hint = getattr(size.node, "hint", None)
    return hint if isinstance(hint, int) else 2
