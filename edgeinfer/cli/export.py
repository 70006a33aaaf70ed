"""`edgeinfer export`: a trained model to verified, quantized ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edgeinfer.cli.options import PATH, format_option
from edgeinfer.cli.output import print_json, progress, say
from edgeinfer.errors import UsageError


@click.command(name="export")
@click.argument("source", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The ONNX file to write.")
@click.option(
    "--framework",
    default="auto",
    show_default=True,
    help="Where SOURCE comes from: auto, onnx, pytorch, keras, ...",
)
@click.option("--entry", metavar="MODULE:CALLABLE", help="Builds the PyTorch module of --weights.")
@click.option("--weights", type=PATH, help="Weights, where they are apart from the program.")
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="NAME:1x3x640x640",
    help="Shape of an input that SOURCE leaves open; a word in place of a number keeps that "
    "dimension open. Repeatable.",
)
@click.option(
    "--trust-pickle", is_flag=True, help="Let code that lies inside SOURCE run, in a child process."
)
@click.option(
    "--precision", default="fp32", show_default=True, help="fp32, or int8 with --calibration."
)
@click.option(
    "--target",
    default="x86-any",
    show_default=True,
    help="The kind of box that INT8 is for: x86-any (7-bit weights), x86-vnni or arm.",
)
@click.option(
    "--calibration", type=PATH, help="Folder of typical pictures, or .npz of inputs, for INT8."
)
@click.option(
    "--validation", help="Labelled data: the metric is measured before and after. [default: none]"
)
@click.option(
    "--max-drop", metavar="1%", help="How far the metric may fall. [default: any; it is reported]"
)
@click.option("--task", help="What the model does. [default: what SOURCE says]")
@click.option("--head", help="What comes out of the graph. [default: what SOURCE says]")
@click.option("--labels", type=PATH, help="One label per line. [default: what SOURCE says]")
@click.option("--spec", type=PATH, help="JSON that overrides what SOURCE says of itself.")
@click.option("--report", type=PATH, help="Write the result as JSON here, too.")
@format_option
def command(
    source: Path,
    output: Path,
    framework: str,
    entry: str | None,
    weights: Path | None,
    input_shapes: tuple[str, ...],
    trust_pickle: bool,
    precision: str,
    target: str,
    calibration: Path | None,
    validation: str | None,
    max_drop: str | None,
    task: str | None,
    head: str | None,
    labels: Path | None,
    spec: Path | None,
    report: Path | None,
    output_format: str,
) -> None:
    """Turn SOURCE into an ONNX file that carries its spec, and prove that it still works."""
    from edgeinfer.files import check_writable, write_text
    from edgeinfer_export import export

    if report is not None:
        check_writable(report)
    with _steps() as tell:
        made = export(
            source,
            output,
            precision=precision,
            target=target,
            calibration=calibration,
            validation=validation,
            max_drop=_share(max_drop),
            framework=framework,
            entry=entry,
            weights=weights,
            input_shapes=dict(_shape(text) for text in input_shapes),
            trust_pickle=trust_pickle,
            spec=spec,
            task=task,
            head=head,
            labels=labels,
            progress=tell,
            say=lambda text: say(f"edgeinfer: {text}"),
        )
    document = made.to_dict()
    if report is not None:
        import json

        write_text(report, json.dumps(document, indent=2) + "\n")
    for note in made.notes:
        say(f"edgeinfer: {note}")
    if output_format == "json":
        print_json(document)
    else:
        print(_text(document))


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%"))
    except ValueError as error:
        raise UsageError(f"--max-drop takes a share such as 1%, not '{text}'.") from error
    return value / 100 if text.endswith("%") else value


def _shape(text: str) -> tuple[str, tuple[int | str, ...]]:
    name, colon, sizes = text.rpartition(":")
    shape = tuple(int(size) if size.isdecimal() else size for size in sizes.split("x"))
    if not colon or not name or not all(shape):
        raise UsageError(f"--input-shape takes NAME:1x3x640x640, not '{text}'.")
    return name, shape


@contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar over the steps of a job, each from 0 to 100."""
    with progress("export", 100) as show:
        yield lambda step, done, total: show(round(100 * done / max(1, total)))


def _text(document: dict[str, Any]) -> str:
    target = f", target {document['target']}" if document["target"] else ""
    lines = [f"wrote {document['output']} ({document['precision']}{target})"]
    if document["kept_float"]:
        lines.append(f"kept in float: {len(document['kept_float'])} nodes of the head")
    before, after = document["metric"].get("before", {}), document["metric"].get("after", {})
    lines += [
        f"{name}: {before[name]:.4f} before, {after[name]:.4f} after"
        for name in before
        if before[name] is not None and after.get(name) is not None
    ]
    return "\n".join(lines)
