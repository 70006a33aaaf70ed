"""Which grid cells answer for which digit: the task-aligned assignment of TOOD.

C. Feng et al., "TOOD: Task-aligned One-stage Object Detection", https://arxiv.org/abs/2108.07755;
the constants are those of YOLOv8.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP_CELLS = 10
SCORE_POWER, IOU_POWER = 0.5, 6.0
_EPSILON = 1e-9


def assign(
    scores: Tensor, boxes: Tensor, centres: Tensor, truth: Tensor, present: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Chooses the cells with the best mix of score and overlap for each digit.

    Args:
        scores: (B, N, C) class scores in [0, 1], detached: no gradient passes here.
        boxes: (B, N, 4) predicted boxes, xyxy in pixels, detached.
        centres: (N, 2) cell centres in pixels.
        truth: (B, G, 5) class, x0, y0, x1, y1.
        present: (B, G) bool, False where a row of `truth` is padding.

    Returns:
        Whether the cell answers for a digit, (B, N) bool; the digit's box, (B, N, 4); and the
        wanted scores, (B, N, C), as high as the cell's overlap allows.
    """
    wanted_boxes, labels = truth[..., 1:], truth[..., 0].long()
    edges = torch.cat(
        (centres - wanted_boxes[..., None, :2], wanted_boxes[..., None, 2:] - centres), -1
    )
    inside = (edges.amin(-1) > 0) & present[..., None]
    overlap = iou(wanted_boxes[:, :, None], boxes[:, None]).clamp(min=0) * inside
    batch = torch.arange(len(truth))[:, None]
    own_score = scores.transpose(1, 2)[batch, labels]
    quality = own_score.pow(SCORE_POWER) * overlap.pow(IOU_POWER) * inside
    best = quality.topk(TOP_CELLS, dim=-1).indices
    chosen = torch.zeros_like(inside).scatter(-1, best, True) & inside
    # A cell that two digits want belongs to the one that it overlaps more.
    owner = (overlap * chosen).argmax(1)
    chosen &= torch.nn.functional.one_hot(owner, truth.shape[1]).transpose(1, 2).bool()
    quality = quality * chosen
    best_quality = quality.amax(-1, keepdim=True) + _EPSILON
    best_overlap = (overlap * chosen).amax(-1, keepdim=True)
    level = (quality / best_quality * best_overlap).amax(1)
    positive = chosen.any(1)
    wanted_scores = torch.nn.functional.one_hot(labels[batch, owner], scores.shape[-1]).float()
    wanted_scores *= (level * positive)[..., None]
    return positive, wanted_boxes[batch, owner], wanted_scores


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) xyxy, broadcast."""
    corner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = corner.clamp(min=0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return shared / (areas - shared + _EPSILON)


def distance_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the squared distance of the centres (DIoU, https://arxiv.org/abs/1911.08287)."""
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return iou(a, b) - apart.square().sum(-1) / (hull.square().sum(-1) + _EPSILON)
