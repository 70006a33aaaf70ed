"""ModelSpec: what a model expects and what its outputs mean."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from edgeinfer.errors import SpecError, suggest
from edgeinfer.geometry import RESIZE_RULES
from edgeinfer.records import dataclass

SCHEMA = "edgeinfer.spec/1"
METADATA_KEY = "edgeinfer.spec"
# Where a file comes from (JSON); export writes it, `inspect` shows it.
PROVENANCE_KEY = "edgeinfer.provenance"
SIDECAR_SUFFIX = ".spec.json"

# The kinds of box that a file may be quantized for.
TARGETS = ("x86-any", "x86-vnni", "arm", "tensorrt", "openvino")

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": ("image", "tensor"),
    "resize": RESIZE_RULES,
    "anchor": ("center", "top-left"),
    "interpolation": ("linear", "area", "cubic", "nearest"),
    "color": ("rgb", "bgr", "gray"),
    "layout": ("nchw", "nhwc"),
    "dtype": ("float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool"),
}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph: a dimension is a number, or a name where it may vary."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True)
class InputSpec:
    """One input and how a frame becomes it.

    A picture is resized by the rule into `size_hw`, brought into the order of `color` and fed as
    (pixel * scale - mean) / std, with `mean` and `std` in that order. An input of kind ``tensor``
    takes arrays as they are; one with a `value` is filled with that number where nobody feeds it
    (a sample rate, a threshold), and `context` values of the frame before are put in front of
    each, along the last axis.
    """

    name: str
    kind: str = "image"
    size_hw: tuple[int, int] | None = None
    resize: str = "letterbox"
    pad_value: int = 114
    anchor: str = "center"
    interpolation: str = "linear"
    color: str = "rgb"
    layout: str = "nchw"
    dtype: str = "float32"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    value: float | None = None
    context: int = 0

    def __post_init__(self) -> None:
        where = f"input '{self.name}'"
        for key, known in _CHOICES.items():
            value = getattr(self, key)
            if value not in known:
                raise SpecError(f"In {where}: {key} is {value!r}. {suggest(str(value), known)}")
        if self.size_hw is not None:
            height, width = self.size_hw
            if not (0 < height <= 16384 and 0 < width <= 16384):
                raise SpecError(
                    f"In {where}: size_hw is {[height, width]}, not two numbers from 1 to 16384."
                )
        if self.context < 0:
            raise SpecError(f"In {where}: context is {self.context}, not 0 or more.")
        if self.kind == "image" and (self.context or self.value is not None):
            raise SpecError(
                f"In {where}: value and context are for inputs of the kind 'tensor'; this one is a "
                f"picture."
            )
        if not 0 <= self.pad_value <= 255:
            raise SpecError(f"In {where}: pad_value is {self.pad_value}, not from 0 to 255.")
        for key in ("mean", "std"):
            values = getattr(self, key)
            if len(values) not in (1, self.channels) and len(values) != 3:
                raise SpecError(
                    f"In {where}: {key} has {len(values)} values for {self.channels} channel(s)."
                )
            if not all(math.isfinite(value) for value in values):
                raise SpecError(f"In {where}: {key} {list(values)} holds a number that is none.")
        if 0 in self.std or not math.isfinite(self.scale) or self.scale == 0:
            raise SpecError(f"In {where}: scale and std must be finite and not 0.")
        pairs = self.per_channel()
        if not all(_LEAST < abs(f) < _MOST and abs(o) < _MOST for f, o in pairs):
            raise SpecError(
                f"In {where}: (pixel * scale - mean) / std goes beyond what float32 holds. Correct "
                f"scale, mean or std."
            )

    @property
    def channels(self) -> int:
        return 1 if self.color == "gray" else 3

    def per_channel(self) -> tuple[tuple[float, float], ...]:
        """Factor and offset of each channel in the order of `color`: value = pixel * f + o."""
        pairs = []
        for channel in range(self.channels):
            mean = self.mean[channel if channel < len(self.mean) else 0]
            std = self.std[channel if channel < len(self.std) else 0]
            pairs.append((self.scale / std, -mean / std))
        return tuple(pairs)

    def to_dict(self) -> dict[str, Any]:
        if self.kind == "tensor":
            plain: dict[str, Any] = {"name": self.name, "kind": "tensor", "dtype": self.dtype}
            if self.value is not None:
                plain["value"] = self.value
            return {**plain, "context": self.context} if self.context else plain
        plain = dataclasses.asdict(self)
        del plain["value"], plain["context"]
        for key in ("size_hw", "mean", "std"):
            plain[key] = None if plain[key] is None else list(plain[key])
        return plain


@dataclass(frozen=True)
class ModelSpec:
    """What a model expects and means.

    Attributes:
        task: ``detect``, ``classify``, ..., ``tensor``; see `edgeinfer.heads.TASKS`.
        head: what comes out of the graph, see `edgeinfer.heads`.
        labels: one per class, empty where unknown.
        inputs: the first is the one that frames go to.
        state: output name to input name, for models that carry state.
        thresholds: ``score`` and ``iou`` in [0, 1], ``max_detections``, ``anomaly``.
        head_options: what the head must know and the graph does not say (anchors, the number of
            keypoints, the blank of a charset), by name; values are plain JSON. Which ones a head
            takes stands in its docstring; others are refused when the model is opened.
        source_sha256: hash of the file that this one was made from.
        precision: ``fp32``, ``fp16``, ``int8``, ... as exported.
        target: what kind of box it was quantized for, None for any.
        origin: where this spec came from: ``edgeinfer``, ``ultralytics``, ``model_api``,
            ``sidecar``, ``options`` or ``guessed``.
        notes: what was guessed, for people.
        keep_classes: only these class numbers are reported; empty for all. A choice of the run,
            not of the model: it is not written into files.
    """

    task: str
    head: str
    labels: tuple[str, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    state: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)
    source_sha256: str = ""
    precision: str = ""
    target: str | None = None
    origin: str = "options"
    notes: tuple[str, ...] = ()
    keep_classes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for key, value in self.thresholds.items():
            if key in ("score", "iou") and not 0 <= value <= 1:
                raise SpecError(f"The {key} threshold is {value}, not between 0 and 1.")
            if key == "max_detections" and value < 1:
                raise SpecError(f"max_detections is {value:g}, not 1 or more.")

    @property
    def carries(self) -> bool:
        """Whether what a frame gives depends on the frames before it."""
        return bool(self.state) or any(item.context for item in self.inputs)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (schema ``edgeinfer.spec/1``)."""
        return {
            "schema": SCHEMA,
            "task": self.task,
            "head": self.head,
            "labels": list(self.labels),
            "inputs": [item.to_dict() for item in self.inputs],
            "state": dict(self.state),
            "thresholds": dict(self.thresholds),
            **({"head_options": dict(self.head_options)} if self.head_options else {}),
            "source_sha256": self.source_sha256,
            "precision": self.precision,
            "target": self.target,
        }


# What float32 holds without losing digits, also where it is multiplied by a pixel.
_LEAST, _MOST = 2.0**-126, 2.0**119
_SPEC_KEYS = (
    "schema",
    "task",
    "head",
    "labels",
    "inputs",
    "state",
    "thresholds",
    "head_options",
    "source_sha256",
    "precision",
    "target",
)
_INPUT_KEYS = tuple(item.name for item in dataclasses.fields(InputSpec))


def spec_fields(text: str, where: str) -> dict[str, Any]:
    """Read the JSON of a spec, whole or partial, and check each key and type.

    Args:
        text: JSON.
        where: what to call it in messages.

    Returns:
        Only the fields that were given; `inputs` as a list of dicts of given fields.

    Raises:
        SpecError: naming the key and the value that do not fit.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where} is not valid JSON ({error}).") from error
    if not isinstance(data, dict):
        raise SpecError(f"{where} holds a {type(data).__name__}, not a JSON object.")
    if data.get("schema", SCHEMA) != SCHEMA:
        raise SpecError(
            f"{where} has the schema {data['schema']!r}; this version reads {SCHEMA}. "
            f"Export the model again, or give --spec FILE."
        )
    for key in data:
        if key not in _SPEC_KEYS:
            raise SpecError(f"{where} has an unknown key '{key}'. {suggest(key, _SPEC_KEYS)}")
    data.pop("schema", None)
    _check_types(data, where)
    return data


def _check_types(data: dict[str, Any], where: str) -> None:
    def need(key: str, fits: bool, wanted: str) -> None:
        if not fits:
            raise SpecError(f"{where}: '{key}' is {_short(data[key])}, not {wanted}.")

    for key in ("task", "head", "source_sha256", "precision"):
        if key in data:
            need(key, isinstance(data[key], str), "a text")
    if "target" in data:
        need("target", data["target"] in (None, *TARGETS), f"null or one of {', '.join(TARGETS)}")
    if "labels" in data:
        labels = data["labels"]
        fits = isinstance(labels, list) and all(isinstance(item, str) for item in labels)
        need("labels", fits, "a list of texts")
    if "state" in data:
        fits = isinstance(data["state"], dict) and all(
            isinstance(item, str) for item in data["state"].values()
        )
        need("state", fits, "an object of output name to input name")
    if "thresholds" in data:
        fits = isinstance(data["thresholds"], dict) and all(
            _is_number(item) for item in data["thresholds"].values()
        )
        need("thresholds", fits, "an object of numbers")
    if "head_options" in data:
        need("head_options", isinstance(data["head_options"], dict), "an object")
    if "inputs" in data:
        fits = isinstance(data["inputs"], list) and all(
            isinstance(item, dict) for item in data["inputs"]
        )
        need("inputs", fits, "a list of objects")
        data["inputs"] = [input_fields(item, where) for item in data["inputs"]]
        names = [item.get("name") for item in data["inputs"]]
        need("inputs", len(set(names)) == len(names), "one object for each input")


def input_fields(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the given fields of one input.

    Raises:
        SpecError: naming the key and the value that do not fit.
    """
    fields: dict[str, Any] = {}
    for key, value in data.items():
        if key not in _INPUT_KEYS:
            raise SpecError(f"{where}: unknown input key '{key}'. {suggest(key, _INPUT_KEYS)}")
        if key in ("size_hw", "mean", "std"):
            if key == "size_hw" and value is None:
                continue
            wanted = 2 if key == "size_hw" else None
            good = _is_whole if key == "size_hw" else _is_number
            fits = isinstance(value, list) and all(good(item) for item in value)
            if not fits or (wanted is not None and len(value) != wanted) or not value:
                raise SpecError(
                    f"{where}: '{key}' is {_short(value)}, not a list of "
                    f"{'two whole' if wanted else ''} numbers."
                )
            fields[key] = tuple(int(item) if key == "size_hw" else float(item) for item in value)
        elif key in ("scale", "pad_value", "value", "context"):
            whole = key in ("pad_value", "context")
            if not (_is_whole(value) if whole else _is_number(value)):
                kind = "a whole number" if whole else "a number"
                raise SpecError(f"{where}: '{key}' is {_short(value)}, not {kind}.")
            fields[key] = float(value) if key in ("scale", "value") else int(value)
        elif not isinstance(value, str):
            raise SpecError(f"{where}: '{key}' is {_short(value)}, not a text.")
        else:
            fields[key] = value
    return fields


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def build(fields: Mapping[str, Any], origin: str, notes: Sequence[str] = ()) -> ModelSpec:
    """Make a spec from checked fields.

    Raises:
        SpecError: if task, head or inputs are missing or a value does not fit.
    """
    for key in ("task", "head", "inputs"):
        if key not in fields:
            raise SpecError(f"The spec lacks '{key}'.")
    inputs = []
    for item in fields["inputs"]:
        if "name" not in item:
            raise SpecError("An input of the spec lacks its 'name'.")
        inputs.append(InputSpec(**item))
    plain = {key: value for key, value in fields.items() if key not in ("inputs", "labels")}
    return ModelSpec(
        **plain,
        labels=tuple(fields.get("labels", ())),
        inputs=tuple(inputs),
        origin=origin,
        notes=tuple(notes),
    )


def of_shape(sizes: Sequence[int], shape: Sequence[int | str]) -> bool:
    """Whether an array of these sizes is one of that shape, whose texts stay open."""
    return len(sizes) == len(shape) and all(
        wanted == size or isinstance(wanted, str) for size, wanted in zip(sizes, shape, strict=True)
    )
