"""`edgeinfer selftest`: does this box compute what was computed where the model was made?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json, say_notes, table
from edgeinfer.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions, Model


@click.command(name="selftest")
@click.argument("model", type=PATH)
@click.option(
    "--golden", type=PATH, help="The vectors. [default: MODEL with .golden.npz for .onnx]"
)
@model_options
@format_option
def command(
    model: Path, golden: Path | None, load_options: LoadOptions, output_format: str
) -> None:
    """Replay the golden vectors of MODEL on this box: preprocessing, raw outputs, typed results.

    The exit code is 4 where something differs by more than the vectors allow, 1 where there are
    none, or where they belong to another file.
    """
    from edgeinfer.artifact import open_model_file
    from edgeinfer.golden import golden_path, read_golden, replay

    open_model_file(model)  # what is no model has no vectors either
    path = golden or golden_path(model)
    vectors = read_golden(path)
    with _opened(model, load_options) as loaded:
        say_notes(loaded.spec.notes, loaded.notes)
        found = replay(loaded, vectors)
        document = {
            "schema": "edgeinfer.selftest/1",
            **loaded.summary(),
            "golden": str(path),
            "reference": vectors.reference,
            **found.to_dict(),
        }
    if output_format == "json":
        print_json(document)
    else:
        print(_text(document))
    if found.failures:
        raise CheckFailed(
            f"This box does not compute what was computed where {model} was made: "
            f"{'; '.join(found.failures[:6])}. Try --provider cpu to see whether the provider is "
            f"to blame; 'edgeinfer doctor' looks for what is wrong with this environment."
        )


def _opened(path: Path, options: LoadOptions) -> Model:
    """The model itself: where a stored plan runs another file, the plan is left out."""
    from edgeinfer.model import open_model

    chosen = (options.score_threshold, options.iou_threshold, options.max_detections)
    if options.classes or any(value is not None for value in chosen):
        raise UsageError(
            "selftest compares with results at the model's own thresholds: leave out "
            "--score-threshold, --iou-threshold, --max-detections and --classes."
        )
    loaded = open_model(path, options)
    if loaded.running.sha256 == loaded.file.sha256:
        return loaded
    loaded.close()
    return open_model(path, dataclasses.replace(options, use_plan=False))


def _text(document: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("", "max", "allowed", "mean", "allowed", "")]
    prepared = document["preprocess"]
    if prepared is not None:
        fits = (prepared["max_levels"] or 0) <= prepared["tolerance"]
        levels = _figure(prepared["max_levels"])
        rows.append(
            ("preprocess (levels)", levels, _figure(prepared["tolerance"]), "", "", _said(fits))
        )
    for name, item in document["outputs"].items():
        most = item["tolerance"]
        figures = (item["max"], most["max"], item["mean"], most["mean"])
        rows.append((name, *map(_figure, figures), _said(item["ok"])))
    results = document["results"]
    served = f"{document['provider']} ({document['provider_impl']})"
    lines = [
        f"{document['samples']} golden samples on {served}, made with {document['reference']}",
        table(rows),
        f"typed results: {results['same']} of {results['of']} the same",
        *(f"  {text}" for text in results["differences"][:10]),
        f"verdict: {document['verdict']}",
    ]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _said(fits: bool) -> str:
    return "ok" if fits else "differs"
