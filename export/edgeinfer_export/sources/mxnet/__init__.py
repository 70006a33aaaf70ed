"""MXNet: a symbol in JSON (`NAME-symbol.json`) and its parameters (`NAME-0000.params`)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Request, SourceModel
from edgeinfer_export.sources.legacy.files import beside, finish, no_partner, read_text, start_of
from edgeinfer_export.sources.legacy.witness import mxnet
from edgeinfer_export.sources.mxnet import keras_layout
from edgeinfer_export.sources.mxnet.convert import convert
from edgeinfer_export.sources.mxnet.params import MAGIC, read_params

TITLE = "MXNet"

_SYMBOL_ENDINGS = ("-symbol.json", ".json")
_PARAMS_ENDINGS = (".params",)
_SYMBOL = re.compile(r'"(nodes|arg_nodes)"\s*:')


def recognizes(path: Path) -> bool:
    """Whether it is a symbol, or a file of parameters."""
    start = start_of(path)
    if start.startswith(MAGIC):
        return True
    text = start.decode("utf-8", "replace")
    if not text.lstrip().startswith("{"):
        return False
    # Some publish the architecture as Keras writes it, beside parameters of MXNet.
    return bool(_SYMBOL.search(text)) or _params_of(path) is not None


def open_source(request: Request) -> SourceModel:
    """Read a symbol and its parameters.

    Raises:
        ModelFileError: if one of the two is missing or damaged, they do not belong together, or an
            operator is not supported.
        UsageError: if the shape of an input is needed.
    """
    symbol_path, params_path = _files(request)
    params = read_params(params_path)
    symbol = _json(symbol_path)
    files = (symbol_path, params_path)
    if keras_layout.is_keras(symbol):
        model, notes = keras_layout.convert(symbol, params, symbol_path.name, request.input_shapes)
        return finish(request, model, "mxnet", files, notes=notes)
    converted = convert(symbol, params, symbol_path.name, params_path.name, request.input_shapes)
    reference, notes = mxnet(request, converted.model, files, converted.comparable)
    return finish(
        request,
        converted.model,
        "mxnet",
        files,
        reference=reference,
        notes=(*converted.notes, *notes),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is cut off or no JSON ({str(error)[:100]}): copy or save it again."
        ) from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} is JSON, but no MXNet symbol: it holds no graph.")
    return found


def _files(request: Request) -> tuple[Path, Path]:
    """The symbol and the parameters, whichever of them was named."""
    path, other = request.path, request.weights
    if not path.exists():
        raise ModelFileError(f"The model {path} does not exist. Check the path.")
    if start_of(path).startswith(MAGIC) or path.suffix.lower() in _PARAMS_ENDINGS:
        symbol = other or _symbol_of(path)
        if symbol is None:
            raise no_partner(path, "parameters", "the symbol", _SYMBOL_ENDINGS)
        return symbol, path
    params = other or _params_of(path)
    if params is None:
        raise no_partner(path, "a symbol", "its file of parameters", ("-0000.params",))
    return path, params


def _params_of(symbol: Path) -> Path | None:
    """The parameters of a symbol: those of the last epoch, where there are several."""
    stem = symbol.stem.removesuffix("-symbol")
    pattern = re.compile(rf"{re.escape(stem)}-(\d+)\.params")
    try:
        epochs = {
            int(match[1]): other
            for other in symbol.parent.iterdir()
            if (match := pattern.fullmatch(other.name)) and other.is_file()
        }
        if epochs:
            return epochs[max(epochs)]
        plain = symbol.with_name(f"{stem}.params")
        return plain if plain.is_file() else beside(symbol, _PARAMS_ENDINGS)
    except OSError:
        return None


def _symbol_of(params: Path) -> Path | None:
    stem = re.sub(r"-\d+$", "", params.stem)
    for ending in _SYMBOL_ENDINGS:
        twin = params.with_name(stem + ending)
        if twin.is_file():
            return twin
    return beside(params, _SYMBOL_ENDINGS[:1])
