"""Read a pickle without running it: which classes it names, which tensors it holds.

`pickletools.genops` parses the instructions; the stack machine below builds plain records of them.
Nothing is imported, called or hashed, so a hostile stream can do no more than be refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# A state dict takes about 200 bytes a tensor here; the numbers themselves lie elsewhere.
MAX_BYTES = 16 << 20


@dataclass(eq=False)
class Global:
    """A name that would be imported."""

    name: str


@dataclass(eq=False)
class Made:
    """What a call would give: `function(*args)`, then filled."""

    function: Any
    args: Any
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    state: Any = None


@dataclass(eq=False)
class Pairs:
    """A dictionary, unhashed."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Outside:
    """A reference to something outside of the stream: a tensor's storage."""

    key: Any


_MARK = object()
_IGNORED = ("PROTO", "FRAME", "STOP")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_FILLERS = ("APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS")


class _Machine:
    """The unpickler's stack, filled with records."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.names: list[str] = []

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _IGNORED:
            return
        if name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _MAKERS:
            stack.append(_MAKERS[name](self))
        elif name in _FILLERS:
            self._fill(name)
        elif name in ("GLOBAL", "INST"):
            found = self._name(str(argument).replace(" ", "."))
            stack.append(Made(found, tuple(self.since_mark())) if name == "INST" else found)
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Made):
                stack[-1].state = state
        elif name == "PERSID":
            stack.append(Outside(argument))
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name.endswith("PUT"):
            self.memo[argument] = stack[-1]
        elif name.endswith("GET"):
            stack.append(self.memo[argument])
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self.since_mark()
        elif name.startswith("EXT"):
            raise ValueError("it uses pickle's extension registry")
        else:
            stack.append(argument)

    def since_mark(self) -> list[Any]:
        found: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            found.append(item)
        return found[::-1]

    def _name(self, name: str) -> Global:
        self.names.append(name)
        return Global(name)

    def stack_global(self) -> Global:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("it imports a name that is not written down")
        return self._name(f"{module}.{name}")

    def made(self, extra: bool = False) -> Made:
        named = self.stack.pop() if extra else None
        args, function = self.stack.pop(), self.stack.pop()
        return Made(function, args, state=named)

    def made_of_mark(self) -> Made:
        function, *args = self.since_mark()
        return Made(function, tuple(args))

    def _fill(self, name: str) -> None:
        if name == "APPEND":
            items = [self.stack.pop()]
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            items = [key, value]
        else:
            items = self.since_mark()
        target = self.stack[-1]
        if name.startswith("SETITEM"):
            if isinstance(target, (Pairs, Made)):
                target.pairs.extend(zip(items[::2], items[1::2], strict=True))
        elif isinstance(target, list):
            target.extend(items)


def _pairs(items: list[Any]) -> Pairs:
    return Pairs(list(zip(items[::2], items[1::2], strict=True)))


_MAKERS: dict[str, Callable[[_Machine], Any]] = {
    "EMPTY_DICT": lambda machine: Pairs(),
    "EMPTY_LIST": lambda machine: [],
    "EMPTY_SET": lambda machine: [],
    "EMPTY_TUPLE": lambda machine: (),
    "TUPLE": lambda machine: tuple(machine.since_mark()),
    "TUPLE1": lambda machine: (machine.stack.pop(),),
    "TUPLE2": lambda machine: _popped(machine, 2),
    "TUPLE3": lambda machine: _popped(machine, 3),
    "LIST": lambda machine: machine.since_mark(),
    "FROZENSET": lambda machine: machine.since_mark(),
    "DICT": lambda machine: _pairs(machine.since_mark()),
    "DUP": lambda machine: machine.stack[-1],
    "STACK_GLOBAL": lambda machine: machine.stack_global(),
    "REDUCE": lambda machine: machine.made(),
    "NEWOBJ": lambda machine: machine.made(),
    "NEWOBJ_EX": lambda machine: machine.made(extra=True),
    "OBJ": lambda machine: machine.made_of_mark(),
    "BINPERSID": lambda machine: Outside(machine.stack.pop()),
}


def _popped(machine: _Machine, count: int) -> tuple[Any, ...]:
    items = tuple(machine.stack[-count:])
    if len(items) < count:
        raise IndexError("it takes more from its stack than there is")
    del machine.stack[-count:]
    return items


@dataclass(frozen=True)
class Tensor:
    """A tensor as the stream describes it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Contents:
    """What a pickle holds.

    Attributes:
        root: the record of the whole object.
        names: everything that it would import, each once, in order.
    """

    root: Any
    names: tuple[str, ...]


def read_pickles(data: bytes) -> Iterator[Contents]:
    """The pickles that follow one another in `data`, as records.

    Raises:
        ValueError: if one is cut off or no pickle.
    """
    import io

    stream = io.BytesIO(data)
    while stream.tell() < len(data):
        machine = _Machine()
        try:
            for code, argument, _ in pickletools.genops(stream):
                machine.step(code.name, argument)
            root = machine.stack.pop()
        except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no complete pickle ({error})") from error
        yield Contents(root, tuple(dict.fromkeys(machine.names)))


def items_of(record: Any) -> list[tuple[str, Any]]:
    """The entries with text keys of a dictionary of any kind; empty for anything else."""
    if isinstance(record, (Pairs, Made)):
        return [(key, value) for key, value in record.pairs if isinstance(key, str)]
    return []


def tensor_of(record: Any) -> Tensor | None:
    """The tensor that a record would become, None for anything else."""
    for _ in range(3):  # a parameter wraps a tensor
        if not isinstance(record, Made) or not isinstance(record.function, Global):
            return None
        name = record.function.name
        args = record.args if isinstance(record.args, tuple) else ()
        if name.startswith("torch._utils._rebuild_tensor") and len(args) > 2:
            shape = args[2] if isinstance(args[2], tuple) else ()
            return Tensor(tuple(n for n in shape if isinstance(n, int)), _dtype(args[0]))
        if not name.startswith("torch._utils._rebuild_parameter") or not args:
            return None
        record = args[0]
    return None


def _dtype(storage: Any) -> str:
    """``Float`` of ``torch.FloatStorage``."""
    key = storage.key if isinstance(storage, Outside) else None
    if isinstance(key, tuple) and len(key) > 1 and isinstance(key[1], Global):
        return key[1].name.rpartition(".")[2].removesuffix("Storage").lower()
    return "?"
