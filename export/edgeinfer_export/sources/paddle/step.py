"""One operator of a program, as its handler gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.paddle.program import DTYPES, Operator


@dataclass(frozen=True, eq=False)
class Step:
    """An operator, the graph, and the tensors that were made so far."""

    graph: Graph
    operator: Operator
    tensors: dict[str, str]

    @property
    def name(self) -> str:
        """What the first output is called."""
        return next((names[0] for names in self.operator.outputs.values() if names), "")

    def all(self, parameter: str) -> list[str]:
        """The tensors of an input that may have several."""
        return [self.tensors[name] for name in self.operator.inputs.get(parameter) or ()]

    def has(self, parameter: str) -> bool:
        """Whether an optional input is given."""
        return bool(self.operator.inputs.get(parameter))

    def one(self, parameter: str) -> str:
        """The tensor of an input."""
        found = self.all(parameter)
        if len(found) != 1:
            self.graph.fail(f"it has {len(found)} inputs {parameter}, and needs one.")
        return found[0]

    def parameter(self, parameter: str) -> Array:
        """An input that has to be a parameter of the network, or known before it runs."""
        return self.graph.constant(self.one(parameter), parameter)

    def give(self, tensor: str, parameter: str = "Out") -> None:
        """Say what an output is."""
        names = self.operator.outputs.get(parameter) or ()
        if len(names) != 1:
            self.graph.fail(f"it has {len(names)} outputs {parameter}, and needs one.")
        self.tensors[names[0]] = tensor

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        return bool(self._value(name, default))

    def word(self, name: str, default: str = "") -> str:
        """A text."""
        return str(self._value(name, default))

    def number(self, name: str, default: float = 0.0) -> float:
        """A number."""
        return self.numbers(name, [default])[0]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer."""
        return int(self.number(name, default))

    def numbers(self, name: str, default: list[float] | None = None) -> list[float]:
        """A list of numbers; a number alone is a list of one."""
        value = self._value(name, default)
        items = value if isinstance(value, list) else [] if value is None else [value]
        if any(not isinstance(item, (int, float)) for item in items):
            self.graph.fail(f"its setting {name} is {str(value)[:60]}, not a number.")
        return [float(item) for item in items] or list(default or ())

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """A list of integers."""
        return [int(item) for item in self.numbers(name, [*(default or ())])]

    def code(self, name: str) -> int:
        """A type, as ONNX numbers it; half and double precision are float32 here."""
        import onnx

        dtype = DTYPES.get(self.integer(name, 5))
        if dtype is None:
            self.graph.fail(f"its type is {self.integer(name)}.")
        plain = np.dtype("<f4" if dtype in ("<f2", "<f8") else dtype)
        return onnx.helper.np_dtype_to_tensor_dtype(plain)

    def _value(self, name: str, default: Any) -> Any:
        value = self.operator.attributes.get(name)
        return default if value is None else value
