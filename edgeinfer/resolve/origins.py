"""Where a ModelSpec comes from: the file's metadata, a sidecar, options, or a guess that is said.

The first of these that knows the model wins; options override single fields of it. What nobody
says is guessed from shapes; a guess that fits two heads is an error that names both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.artifact import read_graph
from edgeinfer.errors import SpecError, UsageError, suggest
from edgeinfer.heads import (
    BOX_TASKS,
    DEFAULT_THRESHOLDS,
    HEADS,
    TASKS,
    Graph,
    check_options,
    class_numbers,
    head_named,
    why_not,
)
from edgeinfer.labels import read_labels
from edgeinfer.records import dataclass
from edgeinfer.resolve import guess
from edgeinfer.resolve.carried import check_state
from edgeinfer.resolve.foreign import ultralytics_fields, windows_ml_fields
from edgeinfer.resolve.model_api import model_api_fields, model_api_type
from edgeinfer.resolve.opened import Opened
from edgeinfer.spec import (
    METADATA_KEY,
    SIDECAR_SUFFIX,
    ModelSpec,
    build,
    spec_fields,
)

# What detectors of faces are run with; at 0.25 they see some in every crowd of leaves.
_FACE_SCORE = 0.5


@dataclass(frozen=True)
class Overrides:
    """What the user says about the model; None and empty leave it to the model."""

    spec: Path | None = None
    task: str | None = None
    head: str | None = None
    labels: Path | None = None
    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    classes: tuple[str, ...] = ()


def resolve(opened: Opened, overrides: Overrides) -> ModelSpec:
    """Find out what a model expects and means.

    Raises:
        SpecError: if it is unknown, ambiguous or contradicts the graph.
        UsageError: for a task or head that does not exist.
    """
    if overrides.task is not None and overrides.task not in TASKS:
        raise UsageError(f"There is no task '{overrides.task}'. {suggest(overrides.task, TASKS)}")
    notes: list[str] = []
    fields, origin = _known_fields(opened, notes)
    if overrides.spec is not None:
        given = spec_fields(_read_text(overrides.spec), f"The spec {overrides.spec}")
        fields, origin = _merged(fields, given), "options"
    if overrides.task is not None:
        if fields.get("task") != overrides.task and overrides.head is None:
            fields.pop("head", None)
        fields["task"] = overrides.task
    if overrides.head is not None:
        head = head_named(overrides.head)
        if overrides.task is not None and head.task != overrides.task:
            raise UsageError(
                f"The head '{head.name}' belongs to the task '{head.task}', not to "
                f"'{overrides.task}'."
            )
        fields["head"], fields["task"] = head.name, head.task
        origin = origin if origin != "guessed" else "options"
    if overrides.labels is not None:
        fields.pop("labels", None)  # what they replace says nothing of the head
    head_from = "options" if overrides.head else origin
    spec = _complete(opened, fields, origin, head_from, notes)
    spec = _with_labels(opened, spec, overrides.labels, head_from)
    spec = _with_thresholds(spec, overrides)
    if overrides.classes:
        if spec.task not in (*BOX_TASKS, "classify"):
            raise UsageError(
                f"--classes chooses among objects or classes; the task '{spec.task}' has none to "
                f"choose from: leave it out."
            )
        graph = Graph(opened.outputs, None, options=spec.head_options)
        count = HEADS[spec.head].classes(graph)
        spec = dataclasses.replace(
            spec, keep_classes=class_numbers(overrides.classes, spec.labels, count)
        )
    return spec


def _merged(fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Override single fields, those of inputs by the input's name."""
    known = {item.get("name"): item for item in fields.get("inputs", ())}
    inputs = [{**known.get(item.get("name"), {}), **item} for item in given.get("inputs", ())]
    return {**fields, **given, **({"inputs": inputs} if inputs else {})}


def sidecar_of(path: Path) -> Path | None:
    """The file that describes a model: ``model.spec.json`` or ``model.onnx.spec.json``."""
    if not path.name:  # a folder such as "." or "/", which has none
        return None
    for candidate in (path.with_suffix(SIDECAR_SUFFIX), Path(f"{path}{SIDECAR_SUFFIX}")):
        if candidate.is_file():
            return candidate
    return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SpecError(f"The spec file {path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"The spec file {path} cannot be read: {error}.") from error


def _known_fields(opened: Opened, notes: list[str]) -> tuple[dict[str, Any], str]:
    ours = opened.metadata.get(METADATA_KEY)
    if ours is not None:
        return spec_fields(ours, f"The spec in {opened.path}"), "edgeinfer"
    fields = ultralytics_fields(opened.metadata, opened.inputs, opened.outputs)
    if fields is not None:
        return fields, "ultralytics"
    fields = model_api_fields(opened, notes)
    if fields is not None:
        return fields, "model_api"
    sidecar = sidecar_of(opened.path)
    if sidecar is not None:
        return spec_fields(_read_text(sidecar), f"The sidecar {sidecar}"), "sidecar"
    fields = windows_ml_fields(opened.metadata, opened.inputs)
    return fields, "guessed"


def _complete(
    opened: Opened, fields: dict[str, Any], origin: str, head_from: str, notes: list[str]
) -> ModelSpec:
    picture = guess.picture_input(opened.inputs, fields, opened.shapes)
    graph = Graph(
        opened.outputs,
        None if picture is None else picture.hw,
        options=fields.get("head_options", {}),
        inputs=opened.inputs,
    )
    seen = picture is not None
    if "head" in fields:
        name = head_named(fields["head"]).name
    else:
        name, graph = _guessed_head(opened, fields, graph, seen, notes)
        if origin == "ultralytics":
            # Its metadata says the task and the classes; the shape settles the rest.
            notes.clear()
    head = HEADS[name]
    if name == "ultraface" and "encoded" not in graph.options and origin != "edgeinfer":
        fields = _encoded_or_not(opened, fields, notes)
    check_options(name, graph.options)
    if "head" in fields or origin != "guessed":
        reason = why_not(name, dataclasses.replace(graph, guessing="head" not in fields))
        if reason is not None:
            raise _contradiction(name, reason, graph, head_from, fields.get("labels"))
    task = fields.get("task", head.task)
    if task != head.task:
        raise SpecError(
            f"The task is '{task}', but the head '{name}' belongs to the task '{head.task}'."
        )
    if origin == "ultralytics" and name == "rtdetr":
        # Alone among Ultralytics' models it is trained on pictures that fill the input.
        stretched = [{**item, "resize": "stretch"} for item in fields.get("inputs", ())]
        fields = {**fields, "inputs": stretched}
    inputs = guess.complete_inputs(opened, fields, name, picture, notes, origin == "guessed")
    if origin == "options" and notes:
        notes.append("the rest is from the options")
    foreign = {
        "ultralytics": f"task '{opened.metadata.get('task', 'detect')}'",
        "model_api": f"model_type '{model_api_type(opened.metadata)}'",
    }
    if origin in foreign and name == "tensor" and fields.get("task") == "tensor":
        notes.append(
            f"nothing: the metadata says {foreign[origin]}, which this version has no head for, so "
            f"the outputs are given as tensors"
        )
    complete = {**fields, "task": task, "head": name, "inputs": inputs}
    spec = build(complete, origin, notes)
    check_state(spec, opened.inputs, opened.outputs)
    return spec


def _encoded_or_not(opened: Opened, fields: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Shapes do not tell regressions from corners; what makes them does."""
    boxes = next((item.name for item in opened.outputs if item.shape[-1:] == (4,)), "")
    if not guess.straight_from_convolutions(read_graph(opened.path), boxes):
        return fields
    notes.append(f"that '{boxes}' holds regressions from anchors")
    return {**fields, "head_options": {**fields.get("head_options", {}), "encoded": True}}


def _guessed_head(
    opened: Opened, fields: Mapping[str, Any], graph: Graph, picture: bool, notes: list[str]
) -> tuple[str, Graph]:
    task = fields.get("task")
    names = guess.fitting_heads(graph, task, fields.get("labels"), picture)
    if set(names) == {"softmax", "logits"}:
        graph = dataclasses.replace(graph, last_ops=guess.last_ops(read_graph(opened.path)))
        names = guess.fitting_heads(graph, task, fields.get("labels"), picture)
    shapes = ", ".join(f"{item.name} {list(item.shape)}" for item in opened.outputs)
    if len(names) > 1:
        raise SpecError(
            f"The output {shapes} fits the heads {' and '.join(names)}: say which with --head, "
            f"or describe the model with --spec FILE."
        )
    if not names and task not in (None, "tensor"):
        others = guess.fitting_heads(graph, task, None, picture)
        if others:
            count = HEADS[others[0]].classes(graph)
            raise _wrong_count(count, "its metadata", len(fields.get("labels", ())))
        raise SpecError(
            f"No head of the task '{task}' fits the output {shapes}. Known heads: "
            f"{', '.join(n for n, h in HEADS.items() if h.task == task)}. "
            f"--task tensor gives the outputs as they are."
        )
    name = names[0] if names else "tensor"
    notes.append(f"the head '{name}' from the output {shapes}")
    return name, graph


def _contradiction(
    name: str, reason: str, graph: Graph, origin: str, labels: Sequence[str] | None
) -> SpecError:
    shapes = ", ".join(f"{item.name} {list(item.shape)}" for item in graph.outputs)
    plain = dataclasses.replace(graph, options={})
    fitting = guess.fitting_heads(plain, None, labels, picture=True)
    instead = f" The shape fits {' or '.join(fitting)}." if fitting else ""
    return SpecError(
        f"The head '{name}' (from {origin}) does not fit the output {shapes}: {reason}.{instead} "
        f"Give the right one with --head, or --task tensor for the outputs as they are."
    )


def _with_labels(opened: Opened, spec: ModelSpec, labels: Path | None, head_from: str) -> ModelSpec:
    where = "the model's labels"
    if labels is not None:
        spec = dataclasses.replace(spec, labels=read_labels(labels))
        where = f"the labels file {labels}"
    elif spec.task == "face" and not spec.labels:
        spec = dataclasses.replace(spec, labels=("face",))
    graph = Graph(opened.outputs, None, options=spec.head_options)
    wanted = HEADS[spec.head].classes(graph)
    if wanted is not None and spec.labels and len(spec.labels) != wanted:
        if labels is None and head_from == "options":
            reason = f"it would tell {wanted} classes apart, the model names {len(spec.labels)}"
            raise _contradiction(spec.head, reason, graph, head_from, spec.labels)
        raise _wrong_count(wanted, where, len(spec.labels))
    return spec


def _wrong_count(classes: int | None, where: str, names: int) -> SpecError:
    return SpecError(
        f"The model tells {classes} classes apart, but {where} has {names} names: give a file with "
        f"{classes} lines to --labels."
    )


def _with_thresholds(spec: ModelSpec, overrides: Overrides) -> ModelSpec:
    given = {
        "score": overrides.score_threshold,
        "iou": overrides.iou_threshold,
        "max_detections": overrides.max_detections,
    }
    chosen = {key: float(value) for key, value in given.items() if value is not None}
    if spec.task in BOX_TASKS:
        usual = {**DEFAULT_THRESHOLDS, **({"score": _FACE_SCORE} if spec.task == "face" else {})}
        merged = {**usual, **spec.thresholds, **chosen}
    elif spec.task in ("classify", "tensor"):
        # A classifier's best class counts whatever its score, unless the user says otherwise.
        merged = chosen
    else:
        merged = {**spec.thresholds, **chosen}
    return dataclasses.replace(spec, thresholds=merged)
