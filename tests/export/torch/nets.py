"""Modules that users might write; entries for ``--entry nets:...``. Importing needs torch."""

from __future__ import annotations

import dataclasses
import sys
from typing import NamedTuple

import torch
from torch import nn


class Small(nn.Module):
    """A classifier of five classes."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.norm(self.conv(images)).relu().mean((2, 3)))


def small() -> nn.Module:
    print("this goes to standard output")
    torch.manual_seed(1)
    module = Small()
    for item in module.buffers():
        if item.dtype.is_floating_point:
            item.uniform_(0.5, 1.5)
    return module


class Words(nn.Module):
    """Whole numbers in, a dictionary out, recurrent."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.recurrent = nn.LSTM(8, 6, batch_first=True, bidirectional=True)

    def forward(
        self, words: torch.Tensor, scale: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        steps, (hidden, _) = self.recurrent(self.embedding(words))
        return {"steps": steps, "last": hidden[0]}


class Spectrum(nn.Module):
    """Complex numbers out."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(values)


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(values).relu())


class InPlace(nn.Module):
    """Preprocessing as it is often written."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values /= 2
        values -= 0.5
        return values.relu()


class Found(NamedTuple):
    boxes: torch.Tensor
    scores: torch.Tensor


class Pair(nn.Module):
    """Two inputs, a named tuple out."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> Found:
        return Found(left @ right, (left - right).sum(1))


@dataclasses.dataclass
class Nested:
    left: torch.Tensor
    parts: list[torch.Tensor]
    name: str = "nested"


class Fields(nn.Module):
    """A dataclass out, one of whose fields is named as the input is."""

    def forward(self, left: torch.Tensor) -> Nested:
        return Nested(left * 2, [left + 1, left.exp()])


class Checked(nn.Module):
    """A decision by value that real inputs never take: the dynamo exporter cannot follow it."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if values.abs().max() > 1e9:
            raise ValueError("too large")
        return values.sigmoid()


class Branching(nn.Module):
    """A decision by value that inputs do take: no exporter can follow it."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * 2 if values.sum() > 0 else values - 3


class Counting(nn.Module):
    """State from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(4))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.total = self.total + values
        return self.total.clone()


class Carrying(nn.Module):
    """The same, with the state outside."""

    def forward(self, values: torch.Tensor, total: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"new_total": total + values, "sum": (total + values).sum()[None]}


class Dropping(nn.Module):
    """Random numbers in inference."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(values, 0.5, training=True)


class Singular(nn.Module):
    """An operator that ONNX does not have, inside another module."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), _Values())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.body(values)


class _Values(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(values)


class Halved(nn.Module):
    """Weights in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3).half()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.linear(values)


class Blind(nn.Module):
    """Gives nothing."""

    def forward(self, values: torch.Tensor) -> str:
        return "nothing"


def a_number() -> int:
    return 3


def failing() -> nn.Module:
    raise FileNotFoundError("config.yaml")


def leaving() -> nn.Module:
    sys.exit(3)


def weights_of_a_wrapper() -> dict[str, torch.Tensor]:
    """What DataParallel saves."""
    return {f"module.{name}": item for name, item in small().state_dict().items()}
