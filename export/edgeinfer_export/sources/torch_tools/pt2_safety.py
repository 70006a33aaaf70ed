"""Refuse exported programs that would do more than compute when torch loads them.

torch.export.load evaluates the text of symbolic shapes (sympy.sympify), looks up any name under
``torch`` as an operator, unpickles tensors, and loads compiled libraries. So a program's JSON is
checked first: shapes are arithmetic, operators are operators. Unpickling is held to tensors in the
child itself (``TORCH_FORCE_WEIGHTS_ONLY_LOAD``).
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.torch_tools.formats import read_member

_MAX_BYTES = 256 << 20
# Neither what touches files nor what leads from an operator to the interpreter.
_NEVER = "from_file|save|__class|__dict|__globals|__init|__reduce|__getattr|__subclass|__module"
_NAME = rf"(?!{_NEVER})\w+"
_OPERATOR = re.compile(
    rf"torch\.ops\.{_NAME}\.{_NAME}(\.{_NAME})?|_operator\.{_NAME}|math\.[a-z]\w*"
    rf"|torch\.sym_\w+|torch\._sym_\w+|torch\.ops\.higher_order\.{_NAME}"
    rf"|torch\._higher_order_ops\.{_NAME}\.{_NAME}|torch\.autograd\.grad_mode\.\w+"
)
_ARITHMETIC = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.Constant,
    ast.Name,
    ast.Call,
    ast.keyword,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.expr_context,
)


def check_program(path: Path) -> None:
    """Read a .pt2 archive's tables.

    Raises:
        ModelFileError: if it is damaged, or holds what no exporter writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                inner = name.partition("/")[2]
                if "aotinductor/" in name or name.endswith((".so", ".dll", ".dylib")):
                    raise ModelFileError(
                        f"{path} is a compiled package (AOTInductor, {inner}): machine code is not "
                        f"loaded. Give the program: torch.export.save(program, FILE)."
                    )
            tables = [n for n in names if n.endswith(".json") and not n.endswith("_config.json")]
            for name in tables:
                data = read_member(path, archive, name, _MAX_BYTES)
                _check(path, json.loads(data))
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} is no complete exported program ({error}).") from error
    if not tables:
        raise ModelFileError(f"{path} holds no exported program. Export it again.")


def _check(path: Path, data: Any) -> None:
    for key, value in _strings(data):
        if key == "expr_str" and not _is_arithmetic(value):
            raise _suspicious(path, "a shape", value)
        if key == "target" and not _OPERATOR.fullmatch(value):
            raise _suspicious(path, "an operator", value)


def _suspicious(path: Path, what: str, value: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is refused: it holds {what} that no exporter writes ('{value[:80]}'), and loading "
        f"it could run code. Export it again from its source; custom operators are not supported."
    )


def _strings(data: Any) -> Iterator[tuple[str, str]]:
    """Every text under the two keys that torch evaluates."""
    left = [data]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left.extend(item)
        elif isinstance(item, dict):
            for key, value in item.items():
                if isinstance(value, str):
                    # A node's operator; the targets of weights and buffers are plain names.
                    if key == "expr_str" or (key == "target" and "inputs" in item):
                        yield key, value
                else:
                    left.append(value)


def _is_arithmetic(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _ARITHMETIC):
            return False
        if isinstance(node, ast.Name) and not re.fullmatch(r"[A-Za-z]\w*", node.id):
            return False
        if isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        ):
            return False
        if isinstance(node, ast.Constant) and not _is_plain(node.value):
            return False
    return True


def _is_plain(value: object) -> bool:
    """A number, or a text that is the name of a symbol or a number."""
    if isinstance(value, str):
        return re.fullmatch(r"\w[\w.]*", value) is not None
    return isinstance(value, (int, float))


# torch/utils/_sympy/functions.py and what sympy.srepr prints of its own.
_FUNCTIONS = frozenset(
    (
        *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow"),
        *("Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan"),
        *("GreaterThan", "Tuple"),
        *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt"),
        *("FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv"),
        *("IntTrueDiv", "TruncToInt", "TruncToFloat", "RoundToInt", "RoundDecimal", "ToFloat"),
        *("Identity", "Max", "Min", "Abs", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "ceiling", "floor"),
        *("Piecewise", "And", "Or", "Not", "sqrt"),
    )
)
