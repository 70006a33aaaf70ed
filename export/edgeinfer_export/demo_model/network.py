"""The detector: a plain convolutional network with two grids, strides 8 and 16.

Only 3x3 and 1x1 convolutions with ReLU, because those become INT8 without losing speed or accuracy
(depthwise convolutions and SiLU do not, on a CPU). Boxes are regressed without anchor shapes, as
distances from the cell's centre to the four sides (FCOS, https://arxiv.org/abs/1904.01355).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgeinfer_export.demo_model.letterbox import SIZE_HW

STRIDES = (8, 16)
CLASSES = 10
# The share of cells that answer for a digit; the class scores start there (RetinaNet's prior).
_PRIOR = 0.01


class ConvReLU(nn.Module):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))

    def fuse(self) -> None:
        """Folds the batch normalization into the convolution; for inference only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Detector(nn.Module):
    """Pictures in, distances and class logits per grid cell out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvReLU(3, 16, stride=2), ConvReLU(16, 32, stride=2))
        self.fine = nn.Sequential(
            ConvReLU(32, 64, stride=2), ConvReLU(64, 64), ConvReLU(64, 64), ConvReLU(64, 64)
        )
        self.coarse = nn.Sequential(ConvReLU(64, 64, stride=2), ConvReLU(64, 64))
        self.lateral = ConvReLU(64, 64, kernel=1)
        self.merge = ConvReLU(64, 48)
        self.narrow = ConvReLU(64, 48, kernel=1)
        boxes = [nn.Conv2d(48, 4, 1) for _ in STRIDES]
        scores = [nn.Conv2d(48, CLASSES, 1) for _ in STRIDES]
        for box, score in zip(boxes, scores, strict=True):
            _start_at(box, 2.0)
            _start_at(score, -math.log((1 - _PRIOR) / _PRIOR))
        self.boxes, self.scores = nn.ModuleList(boxes), nn.ModuleList(scores)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the network.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].

        Returns:
            Distances to left, top, right, bottom in strides, (B, 4, N), and class logits,
            (B, 10, N); the cells of stride 8 first, row by row.
        """
        fine = self.fine(self.stem(images))
        coarse = self.coarse(fine)
        lifted = functional.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest")
        levels = (self.merge(fine + lifted), self.narrow(coarse))
        return _join(self.boxes, levels, 4), _join(self.scores, levels, CLASSES)

    def fuse(self) -> None:
        """Folds every batch normalization; for inference only."""
        for module in self.modules():
            if isinstance(module, ConvReLU):
                module.fuse()


class YoloOutput(nn.Module):
    """The detector with its boxes decoded in the graph, in the raw YOLOv8 layout."""

    grid: Tensor
    strides: Tensor

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        centres, strides = grid_cells()
        self.register_buffer("grid", centres.T[None].contiguous())
        self.register_buffer("strides", strides[None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(1, 3, H, W) float32 RGB in [0, 1] to (1, 4 + 10, N): cx, cy, w, h in pixels, scores."""
        distances, logits = self.detector(images)
        reach = functional.relu(distances) * self.strides
        before, after = reach[:, :2], reach[:, 2:]
        centre = self.grid + (after - before) * 0.5
        return torch.cat((centre, before + after, logits.sigmoid()), 1)


def _join(last: nn.ModuleList, levels: tuple[Tensor, ...], channels: int) -> Tensor:
    """Applies a last convolution to each grid and joins the cells: (B, channels, N)."""
    # Fixed sizes instead of `flatten` keep shape arithmetic out of the exported graph.
    cells = [(SIZE_HW[0] // stride) * (SIZE_HW[1] // stride) for stride in STRIDES]
    parts = [
        conv(x).reshape(-1, channels, count)
        for conv, x, count in zip(last, levels, cells, strict=True)
    ]
    return torch.cat(parts, 2)


def _start_at(conv: nn.Conv2d, answer: float) -> None:
    """Makes the convolution answer about the same everywhere before it has learned anything."""
    nn.init.normal_(conv.weight, std=0.01)
    if conv.bias is not None:
        nn.init.constant_(conv.bias, answer)


def grid_cells() -> tuple[Tensor, Tensor]:
    """Centres of all cells in input pixels, (N, 2) x, y, and their strides, (N,)."""
    centres, strides = [], []
    for stride in STRIDES:
        rows, columns = SIZE_HW[0] // stride, SIZE_HW[1] // stride
        ys, xs = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres.append((torch.stack((xs, ys), -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres), torch.cat(strides)
