"""One promise: what was measured, how much is allowed, and whether it was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A measured promise.

    Attributes:
        name: what is promised.
        value: what was measured, in `unit`.
        bound: what is allowed, in `unit`.
        unit: ``ms``, ``%``, ``MiB``.
        at_least: whether the value must reach the bound; else it must not pass it.
        detail: the figures behind it, by name, as texts.
        data: the same for programs.
    """

    name: str
    value: float
    bound: float
    unit: str
    at_least: bool = False
    detail: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def verdict(self) -> str:
        return "kept" if self.kept else "MISSED"

    def text(self) -> str:
        """One line for a terminal."""
        sign = ">=" if self.at_least else "<="
        return (
            f"{self.verdict:6}  {self.name}: {self.value:.2f} {self.unit} "
            f"(goal {sign} {self.bound:.2f} {self.unit})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "bound": self.bound,
            "unit": self.unit,
            "at_least": self.at_least,
            "kept": self.kept,
            "detail": dict(self.detail),
            "data": dict(self.data),
        }
