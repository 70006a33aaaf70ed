"""Trains the detector, reproducibly: fixed seeds, fixed threads, pictures drawn ahead."""

from __future__ import annotations

import copy
import sys
import time
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgeinfer_export.demo_model.assign import assign, distance_iou
from edgeinfer_export.demo_model.digits import DigitPool
from edgeinfer_export.demo_model.letterbox import PAD_VALUE, SIZE_HW, letterbox
from edgeinfer_export.demo_model.network import Detector, grid_cells
from edgeinfer_export.demo_model.scene import draw_picture

# Sizes of the pictures, with the chance of each: the video's, the validation set's, and others.
PICTURE_SIZES_WH = ((480, 270), (640, 360), (480, 360), (400, 300))
PICTURE_CHANCES = (0.45, 0.25, 0.2, 0.1)
_MAX_DIGITS = 10


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    pictures: int = 7000
    epochs: int = 12
    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    seed: int = 20240
    threads: int = 2
    bfloat16: bool = True


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What is learned from.

    Attributes:
        pictures: (P, H, W, 3) uint8 BGR, letterboxed.
        digits: (P, 10, 5) float32 class, x0, y0, x1, y1 in their pixels; class -1 is padding.
    """

    pictures: NDArray[np.uint8]
    digits: NDArray[np.float32]


def draw_training_set(pool: DigitPool, schedule: Schedule) -> TrainingSet:
    """Draws all pictures ahead, so that training does not wait for them."""
    pictures = np.empty((schedule.pictures, *SIZE_HW, 3), np.uint8)
    digits = np.full((schedule.pictures, _MAX_DIGITS, 5), -1, np.float32)
    for index in range(schedule.pictures):
        rng = np.random.default_rng([schedule.seed, index])
        size = PICTURE_SIZES_WH[int(rng.choice(len(PICTURE_SIZES_WH), p=PICTURE_CHANCES))]
        picture, found = draw_picture(pool, rng, size)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        _, encoded = cv2.imencode(".jpg", picture, quality)
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        pictures[index], scale, (x, y) = letterbox(decoded)
        found[:, 1:] = found[:, 1:] * scale + np.array((x, y, x, y), np.float32)
        digits[index, : len(found)] = found
    return TrainingSet(pictures, digits)


def train(data: TrainingSet, schedule: Schedule) -> Detector:
    """Trains a fresh detector; returns the average of its weights over the last steps."""
    torch.manual_seed(schedule.seed)
    torch.set_num_threads(schedule.threads)
    torch.use_deterministic_algorithms(True)
    model = Detector()
    model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    steps = schedule.epochs * (len(data.pictures) // schedule.batch)
    pace = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=steps, pct_start=0.1
    )
    rng = np.random.default_rng(schedule.seed)
    order = np.empty(0, np.int64)
    began = time.perf_counter_ns()
    for step in range(steps):
        if len(order) < schedule.batch:
            order = rng.permutation(len(data.pictures))
        rows, order = order[: schedule.batch], order[schedule.batch :]
        images, truth = _batch(data, rows, rng)
        # Half the time in bfloat16 where the CPU has it; loss and weights stay float32.
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
            distances, logits = model(images)
        loss = detection_loss(distances.float(), logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        pace.step()
        _follow(average, model, min(0.998, (1 + step) / (10 + step)))
        if step % 50 == 0 or step + 1 == steps:
            seconds = (time.perf_counter_ns() - began) / 1e9
            print(
                f"step {step + 1}/{steps} loss {loss.item():.3f} {seconds:.0f} s", file=sys.stderr
            )
    average.eval()
    return average


def detection_loss(distances: Tensor, logits: Tensor, truth: Tensor) -> Tensor:
    """Overlap of the chosen cells' boxes plus cross entropy of all scores.

    Args:
        distances: (B, 4, N) of the network.
        logits: (B, C, N) of the network.
        truth: (B, G, 5) class, x0, y0, x1, y1 in input pixels; class -1 is padding.
    """
    centres, strides = grid_cells()
    reach = distances.transpose(1, 2) * strides[:, None]
    boxes = torch.cat((centres - reach[..., :2], centres + reach[..., 2:]), -1)
    logits = logits.transpose(1, 2)
    present = truth[..., 0] >= 0
    positive, wanted_boxes, wanted_scores = assign(
        logits.detach().sigmoid(), boxes.detach(), centres, truth.clamp(min=0), present
    )
    total = wanted_scores.sum().clamp(min=1)
    score_loss = functional.binary_cross_entropy_with_logits(logits, wanted_scores, reduction="sum")
    weight = wanted_scores.sum(-1)[positive]
    box_loss = ((1 - distance_iou(boxes[positive], wanted_boxes[positive])) * weight).sum()
    return (score_loss + 5.0 * box_loss) / total


def _batch(
    data: TrainingSet, rows: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The pictures, shifted and with another exposure: (B, 3, H, W) RGB, (B, G, 5)."""
    height, width = SIZE_HW
    pictures = np.full((len(rows), height, width, 3), PAD_VALUE, np.uint8)
    truth = data.digits[rows].copy()
    for target, digits, row in zip(pictures, truth, rows, strict=True):
        dx, dy = (int(v) for v in rng.integers(-20, 21, 2))
        target[max(dy, 0) : height + dy, max(dx, 0) : width + dx] = data.pictures[row][
            max(-dy, 0) : height - dy, max(-dx, 0) : width - dx
        ]
        whole = (digits[:, 3:] - digits[:, 1:3]).prod(-1)
        digits[:, 1:] += (dx, dy, dx, dy)
        digits[:, 1:] = np.clip(digits[:, 1:], 0, (width, height, width, height))
        digits[(digits[:, 3:] - digits[:, 1:3]).prod(-1) < 0.5 * whole, 0] = -1
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).flip(1).float() / 255
    exposure = rng.uniform(0.7, 1.3, (len(rows), 1, 1, 1))
    tint = rng.uniform(0.92, 1.08, (len(rows), 3, 1, 1))
    images = (images * torch.from_numpy(exposure * tint).float()).clamp(0, 1)
    return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(truth)


def _follow(average: Detector, model: Detector, keep: float) -> None:
    """Moves the averaged weights (and the running statistics) towards the model's."""
    pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    with torch.no_grad():
        for slow, fast in pairs:
            if slow.is_floating_point():
                slow.mul_(keep).add_(fast, alpha=1 - keep)
            else:
                slow.copy_(fast)
