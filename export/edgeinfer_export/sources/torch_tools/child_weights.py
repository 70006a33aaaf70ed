"""Weights from a file into a module, name by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.sources.torch_tools.checkpoint import WEIGHT_KEYS
from edgeinfer_export.sources.torch_tools.child_program import first_line
from edgeinfer_export.sources.torch_tools.formats import SAFETENSORS, format_of

# What DataParallel, torch.compile, Lightning and averaging put before each name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_SHOWN = 4


def load_object(path: Path, trust: bool) -> Any:
    """Whatever a file of torch.save or safetensors holds; tensors only unless trusted.

    Raises:
        ModelFileError: if it cannot be loaded.
    """
    torch = need("torch")
    if format_of(path) == SAFETENSORS:
        from_file = need("safetensors.torch")
        try:
            return from_file.load_file(str(path))
        except Exception as error:
            raise ModelFileError(f"{path} cannot be read: {first_line(error)}.") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ModelFileError(
            f"{path} pickles a class whose code is not here ({first_line(error)}): only its name "
            f"is in the file. Run from the folder of the code that made it, or save the weights "
            f"alone there: torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:
        raise ModelFileError(
            f"{path} cannot be loaded ({first_line(error)}): it is damaged or cut off, or holds "
            f"more than tensors."
        ) from error


def state_of(path: Path, loaded: Any, notes: list[str]) -> Mapping[str, Any]:
    """The weights in what a file holds, wherever the training script put them.

    Raises:
        ModelFileError: if there are none.
    """
    torch = need("torch")
    if isinstance(loaded, torch.nn.Module):
        state: Mapping[str, Any] = loaded.state_dict()
        return state
    if not isinstance(loaded, Mapping):
        raise ModelFileError(f"{path} holds a {type(loaded).__name__}, not weights by name.")
    if _is_state(loaded):
        return loaded
    there = [key for key in WEIGHT_KEYS if _is_state(loaded.get(key))]
    if not there:
        keys = ", ".join(str(key) for key in list(loaded)[:8])
        raise ModelFileError(
            f"{path} holds no weights under the names that training scripts use "
            f"({', '.join(WEIGHT_KEYS[:4])}, ...); it has: {keys}. Save model.state_dict() alone."
        )
    beside = f"; {', '.join(there[1:])} are there, too" if there[1:] else ""
    notes.append(f"the weights are those under '{there[0]}' in {path.name}{beside}")
    found: Any = loaded[there[0]]
    chosen: Mapping[str, Any] = found.state_dict() if isinstance(found, torch.nn.Module) else found
    return chosen


def _is_state(value: Any) -> bool:
    import torch

    if isinstance(value, torch.nn.Module):
        return True
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(item, torch.Tensor) for item in value.values())
        and not any(isinstance(item, Mapping) for item in value.values())
    )


def put_weights(module: Any, state: Mapping[str, Any], path: Path, notes: list[str]) -> None:
    """Load weights by name; every one must find its place.

    Raises:
        ModelFileError: naming those that are missing, left over or of another shape.
    """
    import torch

    own = module.state_dict()
    given = {key: item for key, item in state.items() if isinstance(item, torch.Tensor)}
    given = _stripped(given, own, path, notes)
    # Batch norm's counters came with PyTorch 0.4.1 and change nothing in inference.
    missing = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    # Of weights that two layers share, safetensors keep one.
    held = {_place(own[key]) for key in given if key in own}
    missing = [key for key in missing if _place(own[key]) not in held]
    extra = [k for k in given if k not in own and not k.endswith("num_batches_tracked")]
    if missing or extra:
        raise ModelFileError(_apart(path, missing, extra, len(own)))
    for key, item in given.items():
        if key in own and own[key].shape != item.shape:
            raise ModelFileError(
                f"{path} does not fit the module: {key} is {list(item.shape)} in the file, "
                f"{list(own[key].shape)} in the module. Build the module as it was trained "
                f"(classes, width, input size)."
            )
    module.load_state_dict({k: v for k, v in given.items() if k in own}, strict=False)


def _place(tensor: Any) -> tuple[Any, ...]:
    """Where a tensor lies in memory, and which part of it it is; its own where it has none."""
    if not tensor.numel():
        return (id(tensor),)
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


def _stripped(
    given: dict[str, Any], own: Mapping[str, Any], path: Path, notes: list[str]
) -> dict[str, Any]:
    """Names without what wrappers put before them, where that makes them fit better."""
    gone = ""
    while given and not any(key in own for key in given):
        prefix = next((p for p in _PREFIXES if all(key.startswith(p) for key in given)), None)
        if prefix is None:
            break
        gone += prefix
        given = {key[len(prefix) :]: item for key, item in given.items()}
    if gone:
        notes.append(f"every name in {path.name} began with '{gone}', which was taken off")
    return given


def _apart(path: Path, missing: Sequence[str], extra: Sequence[str], count: int) -> str:
    text = f"{path} does not fit the module."
    if missing:
        text += f" The file lacks {len(missing)} of its {count} weights: {_few(missing)}."
    if extra:
        text += f" The module has no place for {len(extra)} in the file: {_few(extra)}."
    if missing and extra:
        near = difflib.get_close_matches(missing[0], extra, n=1, cutoff=0)
        text += f" Nearest to {missing[0]} in the file: {near[0]}."
    return text + " Give the weights of this module, or build the module as it was trained."


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
