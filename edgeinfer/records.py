"""Frozen dataclasses that cost nothing until one of them is made.

`dataclasses` writes and compiles six methods for every class as its module is imported: more than
half of what opening a model spent on imports, though most of the classes are never made there. Here
the standard library does its work when somebody looks at what it makes: the fields, the setters
that refuse, the patterns. `__init__` is compiled apart, `__repr__`, `__eq__` and `__hash__` are
written once, for all. See docs/decisions/0005-dataclasses-are-finished-late.md.
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
        """As `dataclasses.dataclass(frozen=True, eq=eq)`.

        Fields are refused that are no parameters (`init=False`), keywords only, or hashed in
        another way than they are compared; `InitVar` is not known.

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
            for name in _LATER:
                setattr(cls, name, _Later(cls, name))
            cls.__init__ = _Init(cls)
            return cls

        return decorate


_lock = _thread.RLock()
_FIELDS = "__dataclass_fields__"
# What the standard library makes of a class; the last is new in Python 3.13.
_LATER = (
    *(_FIELDS, "__dataclass_params__", "__setattr__", "__delattr__", "__match_args__"),
    "__replace__",
)


class _Later:
    """Stands in a class for what the standard library has not made yet."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        _finish(self._cls)
        return getattr(owner if instance is None else instance, self._name)


def _finish(cls: type) -> None:
    """Let the standard library do its work, once."""
    import dataclasses

    with _lock:
        if not isinstance(cls.__dict__[_FIELDS], _Later):
            return
        # The fields are what others wait for: they go last, and are replaced, not removed.
        for name in _LATER[1:]:
            delattr(cls, name)
        dataclasses.dataclass(init=False, repr=False, eq=False, frozen=True)(cls)


class _Init:
    """An `__init__` that gives way to the compiled one when somebody looks it up."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        compiled = _compiled_init(self._cls)
        # Two threads may both get here; what they write is the same.
        self._cls.__init__ = compiled  # type: ignore[misc]
        return compiled if instance is None else compiled.__get__(instance)


class _Unset:
    """The default of a field that is made anew for each; shown as the standard library shows it."""

    def __repr__(self) -> str:
        return "<factory>"


_UNSET = _Unset()


def _compiled_init(cls: type) -> Any:
    import dataclasses

    known: dict[str, Any] = {"set_": object.__setattr__, "unset_": _UNSET}
    parameters, body = [], []
    fields = dataclasses.fields(cls)
    for field in fields:
        name, value = field.name, field.name
        if not field.init or field.kw_only or field.hash is not None:
            raise TypeError(f"{cls.__qualname__}.{name}: no such field is made here")
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
