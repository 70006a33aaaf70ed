"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from edgeinfer.cli.caching import apply_settings
from edgeinfer.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _PathType(click.Path):
    """A path as it was given. Whether it can be read is told where it is read, as a failure (1);
    an empty one would mean the working folder."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("it is empty: name one (a variable of the shell may be unset).", param, ctx)
        return super().convert(value, param, ctx)


PATH = _PathType(path_type=Path, readable=False)

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What stdout holds: text for people, or one JSON document.",
)

_PROVIDER = click.option(
    "--provider",
    default="auto",
    show_default=True,
    metavar="NAME[:DEVICE]",
    help="Execution provider: auto, cpu, cuda, tensorrt or openvino. A named one runs, or opening "
    "fails.",
)
_PROVIDERS = click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME[:DEVICE]",
    help="Execution provider: auto, cpu, cuda, tensorrt or openvino. A named one runs, or opening "
    "fails. Repeatable: each is measured. [default: auto]",
)
_MODEL_OPTIONS = (
    click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the named provider; repeatable.",
    ),
    click.option(
        "--allow-fallback",
        is_flag=True,
        help="Let the CPU take over when the named provider does not run; every result says so. "
        "[default: off]",
    ),
    click.option(
        "--max-cpu-nodes",
        type=click.IntRange(min=0),
        help="Fail when more nodes than this land on the CPU. [default: no limit]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        help="Threads for inference, preprocessing and decoding. [default: the stored plan's, else "
        "what the box grants]",
    ),
    click.option(
        "--spinning/--no-spinning",
        default=None,
        help="Whether idle threads wait busily: sooner awake, more processor time. [default: the "
        "stored plan's choice, else on]",
    ),
    click.option(
        "--variant",
        "variants",
        multiple=True,
        type=PATH,
        metavar="FILE",
        help="The same model in another precision, beside those in MODEL's folder: 'tune' may "
        "choose it, and a stored plan then runs it. Repeatable.",
    ),
    click.option(
        "--no-plan",
        is_flag=True,
        help="Use no stored plan of 'tune'. [default: one that fits is used]",
    ),
    click.option(
        "--plan",
        type=click.Choice(["latency", "throughput", "efficiency"]),
        help="Use the stored plan that was tuned for this, or fail. [default: for recordings the "
        "one for throughput, else the last one for anything else; where there is none, another]",
    ),
    click.option("--spec", type=PATH, help="JSON that overrides what the model says of itself."),
    click.option(
        "--task",
        help="detect, classify, segment, semantic, pose, face, obb, text-detect, text-recognize, "
        "embed, anomaly, sequence or tensor. [default: what the model says]",
    ),
    click.option(
        "--head",
        help="What comes out of the graph: yolov8, yolov5, end2end, yolox, softmax, logits, "
        "yolov8-pose, db, tensor, ...; an unknown name lists them. [default: what the model says]",
    ),
    click.option("--labels", type=PATH, help="One label per line, or a JSON or YAML list."),
    click.option(
        "--input-shape",
        "input_shapes",
        multiple=True,
        metavar="NAME:1x3x640x640",
        help="Full shape of an input that the file leaves open; repeatable.",
    ),
    click.option(
        "--score-threshold",
        type=click.FloatRange(0, 1),
        help="Drop results below this score. [default: the model's, else 0.25 for boxes]",
    ),
    click.option(
        "--iou-threshold",
        type=click.FloatRange(0, 1),
        help="Overlap above which the worse of two boxes is dropped. [default: the model's, else "
        "0.45]",
    ),
    click.option(
        "--max-detections",
        type=click.IntRange(min=1),
        help="Most boxes per frame. [default: 300]",
    ),
    click.option(
        "--classes", metavar="A,B", help="Report these labels (or numbers) only. [default: all]"
    ),
    click.option(
        "--preprocess",
        type=click.Choice(["host", "graph"]),
        help="Where pixels are scaled: on the host or in the graph. [default: the stored plan's "
        "choice, else host]",
    ),
)


def model_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add the options of INTERFACE.md's list "Common to run, bench, tune, validate".

    The function gets one argument `load_options` in place of all of them.
    """
    return _with_options(function, _PROVIDER)


def matrix_options(function: Callable[..., R]) -> Callable[..., R]:
    """The same with several providers, which the function gets as `providers`."""
    return _with_options(function, _PROVIDERS)


def _with_options(function: Callable[..., R], provider: Decorator) -> Callable[..., R]:
    @functools.wraps(function)
    def read(*args: Any, **kwargs: Any) -> R:
        from edgeinfer.model import LoadOptions

        apply_settings()
        classes = kwargs.pop("classes")
        if classes is not None and not classes.strip():
            raise UsageError("--classes names no class: give some, or leave it out for all.")
        if kwargs["plan"] is not None and kwargs["no_plan"]:
            raise UsageError("--plan and --no-plan contradict each other: leave one out.")
        options = LoadOptions(
            provider=kwargs.pop("provider", "auto"),
            provider_options=_pairs(kwargs.pop("provider_options")),
            allow_fallback=kwargs.pop("allow_fallback"),
            max_cpu_nodes=kwargs.pop("max_cpu_nodes"),
            threads=kwargs.pop("threads"),
            spec=kwargs.pop("spec"),
            task=kwargs.pop("task"),
            head=kwargs.pop("head"),
            labels=kwargs.pop("labels"),
            input_shapes=dict(_shape(text) for text in kwargs.pop("input_shapes")),
            score_threshold=kwargs.pop("score_threshold"),
            iou_threshold=kwargs.pop("iou_threshold"),
            max_detections=kwargs.pop("max_detections"),
            classes=tuple(name.strip() for name in classes.split(",")) if classes else (),
            preprocess=kwargs.pop("preprocess"),
            spinning=kwargs.pop("spinning"),
            variants=kwargs.pop("variants"),
            use_plan=not kwargs.pop("no_plan"),
            plan=kwargs.pop("plan"),
        )
        return function(*args, load_options=options, **kwargs)

    wrapper: Callable[..., R] = read
    for option in reversed((provider, *_MODEL_OPTIONS)):
        wrapper = option(wrapper)
    return wrapper


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--provider-option takes KEY=VALUE, not '{text}'.")
        pairs[key] = value
    return pairs


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, colon, sizes = text.rpartition(":")
    try:
        shape = tuple(int(size) for size in sizes.split("x"))
    except ValueError:
        shape = ()
    if not colon or not shape or min(shape) < 1:
        raise UsageError(f"--input-shape takes NAME:1x3x640x640, not '{text}'.")
    return name, shape
