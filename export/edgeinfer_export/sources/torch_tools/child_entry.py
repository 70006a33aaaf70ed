"""The user's function that builds a module."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError, UsageError, suggest
from edgeinfer_export.sources.torch_tools.child_program import first_line


def build_module(entry: str, folder: Path) -> tuple[Any, str]:
    """Import a function from `folder` and call it.

    Args:
        entry: ``module:callable``.
        folder: what is put first on the import path, as ``python -m`` does.

    Returns:
        The module, and the hash of the file that the function stands in.

    Raises:
        UsageError: if module or function are missing, or it returns no module.
        ModelFileError: if importing or calling it fails.
    """
    name, _, attribute = entry.partition(":")
    sys.path.insert(0, str(folder))
    found: Any = _imported(name, entry, folder)
    source = getattr(found, "__file__", None)
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = suggest(part, _callables(found))
            raise UsageError(f"--entry {entry}: {name} has no '{part}'. {hint}")
        found = getattr(found, part)
    module = _called(entry, found)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    return module, digest


def _imported(name: str, entry: str, folder: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _failed(f"importing {name}", entry, error) from error
        near = [item.name for item in pkgutil.iter_modules([str(folder)])]
        hint = suggest(name, near) if near else "It holds no module."
        raise UsageError(
            f"--entry {entry}: there is no module '{name}' in {folder}, nor is one installed. "
            f"{hint} The module is looked for in the working folder first, as 'python -m' does."
        ) from error
    except (Exception, SystemExit) as error:
        raise _failed(f"importing {name}", entry, error) from error


def _called(entry: str, found: Any) -> Any:
    import torch

    if not isinstance(found, torch.nn.Module):
        if not callable(found):
            raise UsageError(
                f"--entry {entry} is a {type(found).__name__}; name a function that returns a "
                f"torch.nn.Module."
            )
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise _failed("calling it", entry, error) from error
    if not isinstance(found, torch.nn.Module):
        raise UsageError(
            f"--entry {entry} returns a {type(found).__name__}, not a torch.nn.Module: let it "
            f"return the module itself."
        )
    return found


def _failed(what: str, entry: str, error: BaseException) -> ModelFileError:
    """With the user's own line, where the error came out of one."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "edgeinfer_export" not in file and not file.startswith("<frozen"):
            line = f" ({Path(file).name}, line {trace.tb_lineno})"
            if inspect.getmodule(trace.tb_frame) is not None and "site-packages" in file:
                break
        trace = trace.tb_next
    return ModelFileError(f"--entry {entry}: {what} failed: {first_line(error)}{line}.")


def _callables(found: Any) -> list[str]:
    names = [name for name in dir(found) if not name.startswith("_")]
    return [name for name in names if callable(getattr(found, name, None))] or ["nothing"]
