"""The settings of an MXNet operator, which its JSON holds as Python literals in text."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from edgeinfer_export.sources.legacy.graph import Graph


class Attributes:
    """Settings of one operator."""

    def __init__(self, graph: Graph, values: Mapping[str, Any]) -> None:
        self._graph, self._values = graph, values

    def __contains__(self, name: str) -> bool:
        return str(self._values.get(name, "None")) not in ("None", "")

    def word(self, name: str, default: str = "") -> str:
        """A setting as text."""
        return str(self._values[name]) if name in self else default

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        return self.word(name, str(default)).lower() in ("true", "1")

    def number(self, name: str, default: float = 0.0) -> float:
        """A number."""
        return self.numbers(name, (default,))[0]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer."""
        return int(self.number(name, default))

    def numbers(self, name: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """A tuple of numbers; a number alone is a tuple of one."""
        if name not in self:
            return default
        text = self.word(name)
        # Python 2 wrote long integers with an L behind.
        plain = re.sub(r"(?<=\d)L\b", "", text)
        try:
            value = ast.literal_eval(plain)
            found = tuple(float(v) for v in value) if isinstance(value, (tuple, list)) else None
            found = (float(value),) if found is None else found
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            self._graph.fail(
                f"its setting {name} is '{text[:60]}', not a number or a list of them."
            )
        return found or default

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A tuple of integers."""
        return tuple(int(value) for value in self.numbers(name, default))

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """A size of a picture."""
        values = self.integers(name, (default, default))
        if len(values) != 2:
            self._graph.fail(f"its {name} {values} has not two dimensions: it is no picture's.")
        return values[0], values[1]

    def optional(self, name: str) -> list[int | None]:
        """A tuple in which None stands for what is open."""
        text = re.sub(r"(?<=\d)L\b", "", self.word(name, "()"))
        try:
            value = ast.literal_eval(text)
            items = value if isinstance(value, (tuple, list)) else (value,)
            return [None if item is None else int(item) for item in items]
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            self._graph.fail(f"its setting {name} is '{text[:60]}', not a list of integers.")
