"""`edgeinfer validate`: a model's task metric on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.cli.options import PATH, format_option, model_options
from edgeinfer.cli.output import print_json, progress, say, say_notes

if TYPE_CHECKING:
    from edgeinfer.model import LoadOptions


@click.command(name="validate")
@click.argument("model", type=PATH)
@click.argument("dataset")
@model_options
@format_option
def command(
    model: Path,
    dataset: str,
    load_options: LoadOptions,
    output_format: str,
) -> None:
    """Measure MODEL's task metric on DATASET: a YOLO data.yaml, a folder with images/ and labels/
    or masks/, a folder per class, a .csv or .npz, or module:callable (samples, or a metric)."""
    from edgeinfer.datasets import open_dataset
    from edgeinfer.evaluate import evaluate, showing_weak
    from edgeinfer.model import open_model

    with open_model(model, load_options) as loaded:
        data = open_dataset(dataset, loaded.spec.task)
        say_notes(loaded.spec.notes, loaded.notes)
        judged = showing_weak(loaded, load_options.score_threshold, load_options.max_detections)
        with progress("samples", len(data) or None) as show:
            found = evaluate(judged, data, progress=lambda done, total: show(done))
    for note in found.notes:
        say(f"edgeinfer: {note}")
    document = found.to_dict()
    if output_format == "json":
        print_json(document)
        return
    # A metric of the user's may not tell how many it judged.
    samples = f"{found.n} samples, " if found.n else ""
    print(f"{found.dataset}: {samples}task {found.task}")
    for name, value in document["metrics"].items():
        print(f"{name:14} {'-' if value is None else f'{value:.4f}'}")
