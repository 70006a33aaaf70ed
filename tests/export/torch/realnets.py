"""The networks that the real checkpoints belong to, found from the shapes in them.

Entries for ``--entry realnets:...``; names of weights and layers are the checkpoints'.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Cifar(nn.Module):
    """winml_cifar10.pth: four 5x5 convolutions and one linear layer over 24x10x10."""

    def __init__(self) -> None:
        super().__init__()
        widths = {1: (3, 12), 2: (12, 12), 4: (12, 24), 5: (24, 24)}
        for number, (before, after) in widths.items():
            setattr(self, f"conv{number}", nn.Conv2d(before, after, 5, padding=1))
            setattr(self, f"bn{number}", nn.BatchNorm2d(after))
        self.fc1 = nn.Linear(2400, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = images
        for number in (1, 2, 4, 5):
            found = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(found)).relu()
            if number == 2:
                found = functional.max_pool2d(found, 2)
        return self.fc1(found.flatten(1))


class Vad(nn.Module):
    """silero_vad_16k.safetensors: 64 samples of context and 512 new ones; the state is carried."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, samples: torch.Tensor, state: torch.Tensor) -> dict[str, torch.Tensor]:
        padded = functional.pad(samples[:, None], (0, 64), mode="reflect")
        real, imaginary = self.stft_conv(padded).chunk(2, dim=1)
        found = (real.square() + imaginary.square()).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            found = conv(found).relu()
        hidden, cell = self.lstm_cell(found[:, :, 0], (state[0], state[1]))
        speech = self.final_conv(hidden.relu()[:, :, None]).sigmoid().mean(2)
        return {"speech": speech, "new_state": torch.stack((hidden, cell))}


def _conv_bn(before: int, after: int, kernel: int = 3, *, stride: int = 1, spread: int = 1) -> Any:
    """Convolution and batch norm under the names `conv` and `bn`."""
    padding = spread if kernel == 3 else 0
    layers = nn.Sequential()
    layers.add_module(
        "conv", nn.Conv2d(before, after, kernel, stride, padding, dilation=spread, bias=False)
    )
    layers.add_module("bn", nn.BatchNorm2d(after))
    return layers


class _Field(nn.Module):
    """Three branches with growing dilation, added to a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        widths = {"branch0": (8, 16, 16), "branch1": (8, 16, 16), "branch2": (8, 12, 16, 16)}
        spreads = {"branch0": 2, "branch1": 3, "branch2": 5}
        self.branches = tuple(widths)
        for name, sizes in widths.items():
            layers = [_conv_bn(64, sizes[0], 1)]
            for before, after in itertools.pairwise(sizes):
                last = len(layers) == len(sizes) - 1
                layers.append(_conv_bn(before, after, spread=spreads[name] if last else 1))
            setattr(self, name, nn.Sequential(*layers))
        self.ConvLinear = _conv_bn(48, 64, 1)
        self.shortcut = _conv_bn(64, 64, 1)

    def _branch(self, name: str, found: torch.Tensor) -> torch.Tensor:
        first, *middle, last = getattr(self, name)
        found = first(found)
        for layer in middle:
            found = layer(found).relu()
        return last(found)

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self._branch(name, found) for name in self.branches], 1)
        return (self.ConvLinear(joined) + self.shortcut(found)).relu()


def _separable(before: int, after: int, stride: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(before, before, 3, stride, 1, groups=before)
    return nn.Sequential(depthwise, nn.ReLU(), nn.Conv2d(before, after, 1))


def _block(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.ReLU(),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


class Faces(nn.Module):
    """ultraface_rfb_320.pth: anchors of 10 to 256 pixels on four grids over 320x240."""

    _SIZES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
    _GRIDS_HW = ((30, 40), (15, 20), (8, 10), (4, 5))

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 32, 32, 64, 64, 64)
        strides = (1, 2, 1, 2, 1, 1)
        layers: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        ]
        layers += [_block(*item) for item in zip(widths, widths[1:], strides, strict=False)]
        layers += [_Field()]
        deep = (64, 128, 128, 128, 256, 256)
        layers += [_block(*item) for item in zip(deep, deep[1:], (2, 1, 1, 2, 1), strict=False)]
        self.base_net = nn.ModuleList(layers)
        self.extras = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(256, 64, 1), nn.ReLU(), _separable(64, 256, 2), nn.ReLU())]
        )
        self.classification_headers = self._headers(2)
        self.regression_headers = self._headers(4)
        self.register_buffer("anchors", self._anchors(), persistent=False)

    def _headers(self, values: int) -> nn.ModuleList:
        counts = [len(sizes) * values for sizes in self._SIZES]
        near = [_separable(w, n) for w, n in zip((64, 128, 256), counts, strict=False)]
        return nn.ModuleList([*near, nn.Conv2d(256, counts[3], 3, padding=1)])

    def _anchors(self) -> torch.Tensor:
        """(4420, 4) float32, cx cy w h in 0 to 1."""
        found = []
        for sizes, (rows, columns) in zip(self._SIZES, self._GRIDS_HW, strict=True):
            for row in range(rows):
                for column in range(columns):
                    center = ((column + 0.5) / columns, (row + 0.5) / rows)
                    found += [(*center, size / 320, size / 240) for size in sizes]
        return torch.tensor(found).clamp(0, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        found, maps = images, []
        for number, layer in enumerate(self.base_net):
            found = layer(found)
            if number in (7, 10, 12):
                maps.append(found)
        maps.append(self.extras[0](found))
        scores = self._joined(self.classification_headers, maps, 2).softmax(2)
        places = self._joined(self.regression_headers, maps, 4)
        center = places[..., :2] * 0.1 * self.anchors[:, 2:] + self.anchors[:, :2]
        size = (places[..., 2:] * 0.2).exp() * self.anchors[:, 2:]
        return {"scores": scores, "boxes": torch.cat((center - size / 2, center + size / 2), 2)}

    def _joined(self, headers: nn.ModuleList, maps: list[torch.Tensor], values: int) -> Any:
        parts = [
            header(found).permute(0, 2, 3, 1).reshape(found.shape[0], -1, values)
            for header, found in zip(headers, maps, strict=True)
        ]
        return torch.cat(parts, 1)
