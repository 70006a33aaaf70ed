"""What is imported when it is looked up: opening a model needs few of many."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

# Not from `typing`, which costs more than this file: the child of `vet` is started before.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterator
    from mmap import mmap
    from typing import TypeVar

    V = TypeVar("V")


def new_sha256(data: bytes | mmap = b"") -> hashlib._Hash:
    """As `hashlib.sha256`, which brings OpenSSL along: a file that was hashed before needs none."""
    import hashlib

    return hashlib.sha256(data)


def exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        homes: public name to the module that defines it.
    """

    def fetch(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value: object = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return fetch, lambda: sorted(homes)


class LazyTable(Mapping[str, "V"]):
    """A mapping from names to what modules define.

    Args:
        homes: name to ``module:attribute``; an attribute that is a class is called.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)
        self._found: dict[str, V] = {}

    def __getitem__(self, name: str) -> V:
        if name not in self._found:
            module, _, attribute = self._homes[name].partition(":")
            found = getattr(importlib.import_module(module), attribute)
            self._found[name] = found() if isinstance(found, type) else found
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)
