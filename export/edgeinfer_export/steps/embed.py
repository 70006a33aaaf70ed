"""Preprocessing and NMS move into the graph, and the answers are held against those before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.datasets import read_picture
from edgeinfer.errors import CheckFailed, SpecError
from edgeinfer.frames import Array
from edgeinfer.metrics import iou_matrix
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.preprocess import embed
from edgeinfer.results import Classes, Detections
from edgeinfer.spec import ModelSpec
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.calibration import Calibration, PictureCalibration
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.nms import HEADS, embed_nms
from edgeinfer_export.steps.verify import (
    FP32,
    LEAST_SPAN_OF_SCORES,
    sample_numbers,
)

if TYPE_CHECKING:
    import onnx

# Weak predictions are compared too: at the model's own threshold a picture may show nothing.
_LOW_SCORE = 0.01
_MAX_PICTURES = 16
_SAME_PLACE = 0.95
_SAME_SCORE = 0.005
# Boxes that overlap by just the threshold may fall either way in float32.
_LEAST_SHARE = 0.99

# Writes a model so that this box opens it, and says where.
Openable = Callable[["onnx.ModelProto", ModelSpec], Path]


def check_embeddable(spec: ModelSpec, options: ExportOptions) -> None:
    """Refuse what can never move into the graph before long work starts.

    Raises:
        SpecError: for a model without pictures, or a head without NMS.
    """
    if options.embed_preprocess and not any(item.kind == "image" for item in spec.inputs):
        raise SpecError(
            "Preprocessing can move into the graph only where the model takes pictures; this one "
            "takes arrays. Leave out --embed-preprocess."
        )
    if options.embed_nms and spec.head not in HEADS:
        raise SpecError(
            f"NMS can go into the graph for the heads {', '.join(HEADS)}; this model's is "
            f"'{spec.head}'. Leave out --embed-nms."
        )


def embedded(
    model: onnx.ModelProto, spec: ModelSpec, options: ExportOptions
) -> tuple[onnx.ModelProto, ModelSpec]:
    """A copy with preprocessing, NMS, or both in the graph, and the spec of that.

    Raises:
        SpecError: if what is asked for cannot move into this graph.
    """
    if options.embed_preprocess:
        picture = next(item for item in spec.inputs if item.kind == "image")
        moved = embed(model, picture)
        model = moved.model
        inputs = tuple(moved.spec if item is picture else item for item in spec.inputs)
        spec = dataclasses.replace(spec, inputs=inputs)
    if options.embed_nms:
        model = embed_nms(model, spec)
        spec = dataclasses.replace(spec, head="end2end")
    return clean(model), spec


def check_embedded(
    plain: onnx.ModelProto,
    spec: ModelSpec,
    options: ExportOptions,
    data: Calibration,
    openable: Openable,
) -> dict[str, Any]:
    """Hold the answers of the embedded model against the plain one's, weak ones included.

    Args:
        plain: the model before. spec: its.
        data: pictures where they were given, else noise is looked at.

    Returns:
        ``share`` of the plain model's answers that the other gives too, in the same place and as
        sure (None where it sees nothing); ``answers``, ``extra`` answers of the other,
        ``pictures``.

    Raises:
        CheckFailed: if the answers are not the same.
    """
    if spec.task == "detect":
        spec = dataclasses.replace(spec, thresholds={**spec.thresholds, "score": _LOW_SCORE})
    other, other_spec = embedded(plain, spec, options)
    load = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    answers = extra = same = count = 0
    with (
        open_model(openable(plain, spec), load) as before,
        open_model(openable(other, other_spec), load) as after,
    ):
        for picture in _pictures(before, data):
            wanted, got, both = _compare(before, after, picture)
            answers, extra, same = answers + wanted, extra + got - both, same + both
            count += 1
    share = same / answers if answers else 1.0
    if share < _LEAST_SHARE or extra > (1 - _LEAST_SHARE) * max(answers, 1):
        raise CheckFailed(
            f"With {_named(options)} in the graph only {same} of {answers} answers on {count} "
            f"pictures are the same, and {extra} are new: the file was not written. Export "
            f"without it, and report this with the model."
        )
    known = share if answers else None
    return {"share": known, "answers": answers, "extra": extra, "pictures": count}


def _named(options: ExportOptions) -> str:
    both = (("preprocessing", options.embed_preprocess), ("NMS", options.embed_nms))
    return " and ".join(name for name, asked in both if asked)


def _pictures(model: Model, data: Calibration) -> Iterator[Array]:
    if isinstance(data, PictureCalibration):
        for index in sample_numbers(len(data), _MAX_PICTURES):
            yield read_picture(data.paths[index])
        return
    width, height = model.size_wh or (64, 64)
    for seed in range(4):
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
        blocks = np.kron(coarse, np.ones((-(-height // 8), -(-width // 8), 1), np.uint8))
        yield np.ascontiguousarray(blocks[:height, :width])


def _compare(before: Model, after: Model, picture: Array) -> tuple[int, int, int]:
    """Answers before, answers after, and how many are the same; else the raw outputs are those."""
    wanted, got = before(picture).value, after(picture).value
    if isinstance(wanted, Detections) and isinstance(got, Detections):
        return len(wanted), len(got), _same_boxes(wanted, got)
    if isinstance(wanted, Classes) and isinstance(got, Classes):
        near = np.abs(wanted.scores - got.scores).max(initial=0.0) <= _SAME_SCORE
        return 1, 1, int(near and wanted.class_ids[:1].tolist() == got.class_ids[:1].tolist())
    outputs, others = before.raw(picture), after.raw(picture)
    same = [_same_values(array, others[name]) for name, array in outputs.items()]
    return len(same), len(same), sum(same)


def _same_values(wanted: Array, got: Array) -> bool:
    if wanted.shape != got.shape or wanted.dtype.kind not in "fiub":
        return np.array_equal(wanted, got)
    wanted, got = wanted.astype(np.float64), got.astype(np.float64)
    span = float(np.ptp(wanted)) if wanted.size else 0.0
    if wanted.size and wanted.min() >= 0 and wanted.max() <= 1:
        span = max(span, LEAST_SPAN_OF_SCORES)
    return bool(np.abs(wanted - got).max(initial=0.0) <= FP32.max * (span or 1.0))


def _same_boxes(wanted: Detections, got: Detections) -> int:
    overlaps = iou_matrix(wanted.boxes_xyxy, got.boxes_xyxy)
    overlaps *= wanted.class_ids[:, None] == got.class_ids[None, :]
    # Boxes clipped to nothing at the frame's edge overlap nothing, not even themselves.
    apart = np.abs(wanted.boxes_xyxy[:, None] - got.boxes_xyxy[None]).max(axis=-1, initial=0.0)
    alike = wanted.class_ids[:, None] == got.class_ids[None, :]
    overlaps = np.where((apart <= 0.5) & alike, 1.0, overlaps)
    overlaps *= np.abs(wanted.scores[:, None] - got.scores[None, :]) <= _SAME_SCORE
    free = np.ones(len(got), bool)
    count = 0
    for row in overlaps:
        usable = np.where(free, row, -1.0)
        if usable.size and usable.max() >= _SAME_PLACE:
            free[int(usable.argmax())] = False
            count += 1
    return count
