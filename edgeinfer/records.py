"""Frozen dataclasses that cost nothing until one of them is made.

`dataclasses` writes and compiles six methods for every class as its module is imported: more than
half of what opening a model spent on imports, though most of the classes are never made there. Here
the standard library only collects the fields, and only when somebody asks for them, so that
`fields`, `replace`, `asdict` and pattern matching work as ever. `__init__` is compiled when it is
first looked up; the other methods are written once, for all.
"""

from __future__ import annotations

import _thread

# Not from `typing`, which costs more than this file: the child of `vet` is started before.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass
    from typing import Any
else:

    def dataclass(*, frozen: bool, eq: bool = True) -> Callable[[type], type]:
        """As `dataclasses.dataclass(frozen=True, eq=eq)`; `InitVar`, `init` and `kw_only` are not.

        Args:
            frozen: must be True; what changes is a class of `dataclasses`.
            eq: False compares by identity, as is right for what holds arrays.
        """
        if not frozen:
            raise TypeError("only frozen dataclasses are made here")
        methods = {"__repr__": _repr, **({"__eq__": _eq, "__hash__": _hash} if eq else {})}

        def decorate(cls: type) -> type:
            own = set(cls.__dict__)
            # A class that defines __eq__ alone has a __hash__ of None from Python itself.
            if "__eq__" in own and cls.__dict__.get("__hash__") is None:
                own.discard("__hash__")
            for name, method in methods.items():
                if name not in own:
                    setattr(cls, name, method)
            cls.__init__, cls.__dataclass_fields__ = _Init(cls), _Fields(cls)
            cls.__setattr__, cls.__delattr__ = _refuse_to_set, _refuse_to_delete
            return cls

        return decorate


_lock = _thread.RLock()


class _Fields:
    """The fields of a class, which are collected when somebody looks them up."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        import dataclasses

        with _lock:
            if self._cls.__dict__["__dataclass_fields__"] is self:
                dataclasses.dataclass(init=False, repr=False, eq=False)(self._cls)
        return self._cls.__dict__["__dataclass_fields__"]


class _Init:
    """An `__init__` that gives way to the compiled one when somebody looks it up."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        compiled = _compiled_init(self._cls)
        # Two threads may both get here; what they write is the same.
        self._cls.__init__ = compiled  # type: ignore[misc]
        return compiled if instance is None else compiled.__get__(instance)


def _compiled_init(cls: type) -> Any:
    import dataclasses

    known: dict[str, Any] = {"set_": object.__setattr__, "unset_": dataclasses.MISSING}
    parameters, body = [], []
    fields = dataclasses.fields(cls)
    for field in fields:
        name, value = field.name, field.name
        if field.default is not dataclasses.MISSING:
            known[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not dataclasses.MISSING:
            known[f"make_{name}"] = field.default_factory
            parameters.append(f"{name}=unset_")
            value = f"make_{name}() if {name} is unset_ else {name}"
        else:
            parameters.append(name)
        body.append(f"set_(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    lines = "\n    ".join(body) or "pass"
    exec(f"def __init__(self, {', '.join(parameters)}):\n    {lines}", known)
    init = known["__init__"]
    init.__module__, init.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    init.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    return init


def _refuse_to_set(self: Any, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _compared(self: Any) -> tuple[object, ...]:
    import dataclasses

    return tuple(getattr(self, field.name) for field in dataclasses.fields(self) if field.compare)


def _eq(self: Any, other: object) -> Any:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    import dataclasses

    shown = [field.name for field in dataclasses.fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"
