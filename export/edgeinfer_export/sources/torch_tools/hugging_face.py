"""What a Hugging Face folder says of its model, out of its JSON files, without transformers.

Sources: the image processors of https://github.com/huggingface/transformers (keys of
``preprocessor_config.json``), and `PIL.Image.Resampling` for the numbers under ``resample``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError

CONFIG = "config.json"
_MAX_BYTES = 32 << 20
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
# What ends in one score per class; the rest is given as tensors.
CLASSIFIERS = (
    "ForImageClassification",
    "ForImageClassificationWithTeacher",
    "ForSequenceClassification",
    "ForAudioClassification",
    "ForVideoClassification",
)
# Pillow's filters as OpenCV's: Pillow widens them when it shrinks, as only `area` does in OpenCV.
# Mean difference on 640-pixel photographs shrunk to 224, of 255: see docs/decisions/0003.
_FILTERS = {0: "nearest", 1: "area", 2: "area", 3: "area", 4: "area", 5: "area"}
_NAMES = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "Hamming"}
_CROP_PCT = 0.875  # ConvNextImageProcessor's default


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ModelFileError: if it cannot be read or is none.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is no readable JSON ({error}).") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} holds a {type(found).__name__}, not a JSON object.")
    return found


def is_folder(path: Path) -> bool:
    """Whether it is a folder with the configuration of a model of transformers; never raises."""
    try:
        if not (path.is_dir() and (path / CONFIG).is_file()):
            return False
        config = read_json(path / CONFIG)
    except (OSError, ModelFileError):
        return False
    return "model_type" in config or "architectures" in config


def architecture_of(path: Path, config: Mapping[str, Any]) -> str:
    """The class that the weights belong to.

    Raises:
        ModelFileError: if the configuration does not say.
    """
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not str(names[0]).isidentifier():
        raise ModelFileError(
            f"{path / CONFIG} names no architecture: save the model with save_pretrained()."
        )
    return str(names[0])


def is_classifier(architecture: str, config: Mapping[str, Any]) -> bool:
    """Whether its logits are one score per class."""
    return (
        architecture.endswith(CLASSIFIERS)
        and config.get("problem_type") in (None, "single_label_classification")
        and len(labels_of(config) or "ab") > 1
    )


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """The classes by number; empty where they are unknown or only numbered."""
    given = config.get("id2label")
    if not isinstance(given, dict):
        return []
    try:
        numbered = sorted((int(key), str(value)) for key, value in given.items())
    except ValueError:
        return []
    if [number for number, _ in numbered] != list(range(len(numbered))):
        return []
    names = [name for _, name in numbered]
    return [] if all(name == f"LABEL_{number}" for number, name in numbered) else names


def processor_of(path: Path) -> dict[str, Any]:
    """How pictures are prepared; empty where the folder does not say.

    Raises:
        ModelFileError: if the file cannot be read.
    """
    for name in _PROCESSORS:
        if (path / name).is_file():
            found = read_json(path / name)
            inner = found.get("image_processor")
            return inner if isinstance(inner, dict) else found
    return {}


def picture_size(processor: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of what the model is fed, None where that stays open."""
    if processor.get("do_center_crop") and processor.get("crop_size") is not None:
        return _pair(processor["crop_size"])
    if "size" in processor:
        size = _pair(processor["size"])
        if size is not None:
            return size
        edge = _edge(processor["size"])
        if edge is not None and _is_convnext(processor):
            return edge, edge
    return _pair(config.get("image_size"))


def picture_input(
    name: str, processor: Mapping[str, Any], size: tuple[int, int], notes: list[str]
) -> dict[str, Any]:
    """The picture input of a spec; what the runtime does not do alike is noted."""
    described: dict[str, Any] = {"name": name, "kind": "image", "size_hw": list(size)}
    described["color"] = "bgr" if processor.get("do_flip_channel_order") else "rgb"
    scale = float(processor.get("rescale_factor", 1 / 255))
    described["scale"] = scale if processor.get("do_rescale", True) else 1.0
    normal = processor.get("do_normalize", "image_mean" in processor)
    described["mean"] = _values(processor.get("image_mean"), 0.0) if normal else [0.0] * 3
    described["std"] = _values(processor.get("image_std"), 1.0) if normal else [1.0] * 3
    described["resize"] = _resize_rule(processor, size, notes)
    resample = processor.get("resample", 2)
    described["interpolation"] = _FILTERS.get(resample, "linear")
    if resample != 0 and processor.get("do_resize", True):
        notes.append(
            f"pictures are resized by OpenCV's '{described['interpolation']}', the nearest to the "
            f"{_NAMES.get(resample, 'unknown')} filter of Pillow that the model was trained with; "
            f"scores move a little"
        )
    return described


def _resize_rule(processor: Mapping[str, Any], size: tuple[int, int], notes: list[str]) -> str:
    if not processor.get("do_resize", True):
        return "center-crop" if processor.get("do_center_crop") else "stretch"
    given = processor.get("size")
    edge = _edge(given)
    if _is_convnext(processor) and edge is not None:
        if edge >= 384:
            return "stretch"
        edge = round(edge / float(processor.get("crop_pct") or _CROP_PCT))
    whole = _pair(given)
    if processor.get("do_center_crop") or (edge is not None and _is_convnext(processor)):
        before = edge if edge is not None else (whole or size)[0]
        if before != min(size):
            height, width = picture_size(processor, {}) or size
            at = "" if (height, width) == size else f", at {size[1]}x{size[0]}"
            ratio = before / min(size)
            look = f"{ratio:.2f} times smaller" if ratio > 1 else f"{1 / ratio:.2f} times larger"
            notes.append(
                f"the model was trained on the middle {width}x{height} of pictures resized to "
                f"{before}; this spec takes the whole shorter side{at}: objects look {look} to it"
            )
        return "center-crop"
    if edge is not None:
        notes.append(
            f"the model resizes the shorter side to {edge} and keeps the shape of the picture; "
            f"this spec stretches pictures to {size[1]}x{size[0]}"
        )
    return "stretch"


def _is_convnext(processor: Mapping[str, Any]) -> bool:
    kind = processor.get("image_processor_type", processor.get("feature_extractor_type", ""))
    return str(kind).startswith("ConvNext")


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(n, int) for n in size):
        return size[0], size[1]
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        return int(size["height"]), int(size["width"])
    return None


def _edge(size: Any) -> int | None:
    edge = size.get("shortest_edge") if isinstance(size, dict) else None
    return edge if isinstance(edge, int) else None


def _values(given: Any, default: float) -> list[float]:
    if isinstance(given, (int, float)):
        return [float(given)] * 3
    if isinstance(given, list) and given and all(isinstance(n, (int, float)) for n in given):
        return [float(n) for n in given]
    return [default] * 3
