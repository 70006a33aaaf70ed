"""`edgeinfer export`: a trained model to verified, quantized ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.options import PATH, format_option
from edgeinfer.cli.output import print_json, progress, say, table
from edgeinfer.errors import UsageError

if TYPE_CHECKING:
    from edgeinfer_export.result import Exported
    from edgeinfer_export.sweep import Swept

# More lines of blamed layers than this bury the rest.
_MOST_BLAMED = 6


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
    "--input-size",
    metavar="320[,416,...]",
    help="Size of the picture that the model takes (HxW where not square). Several: a file for "
    "each size in FP32 and in --precision, with a table and a plot of accuracy against latency. "
    "[default: SOURCE's]",
)
@click.option(
    "--trust-pickle",
    is_flag=True,
    help="Let code that lies inside SOURCE run, in a child process. [default: refused]",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32; fp16; int8 (needs --calibration); int8-dynamic (transformers, recurrent nets).",
)
@click.option(
    "--target",
    default="x86-any",
    show_default=True,
    help="The kind of box that INT8 is for: x86-any (7-bit weights), x86-vnni, arm, tensorrt or "
    "openvino.",
)
@click.option(
    "--calibration", type=PATH, help="Folder of typical pictures, or .npz of inputs, for INT8."
)
@click.option(
    "--calibration-method",
    default="auto",
    show_default=True,
    help="How ranges are taken: minmax, percentile, entropy, or auto: whichever brings the outputs "
    "nearest to the source's.",
)
@click.option(
    "--validation", help="Labelled data: the metric is measured before and after. [default: none]"
)
@click.option(
    "--max-drop",
    metavar="1%",
    help="How much of the metric may be lost, as a share of the source's; layers stay in float "
    "until it holds. Without --validation: of the agreement with SOURCE on --calibration. "
    "[default: any; it is reported]",
)
@click.option("--task", help="What the model does. [default: what SOURCE says]")
@click.option("--head", help="What comes out of the graph. [default: what SOURCE says]")
@click.option("--labels", type=PATH, help="One label per line. [default: what SOURCE says]")
@click.option("--spec", type=PATH, help="JSON that overrides what SOURCE says of itself.")
@click.option(
    "--embed-preprocess",
    is_flag=True,
    help="Put channel order, layout, scale and mean into the graph, which then takes uint8 BGR. "
    "[default: off]",
)
@click.option(
    "--embed-nms",
    is_flag=True,
    help="Decode and suppress a detector's boxes in the graph, at the thresholds of its spec. "
    "[default: off]",
)
@click.option(
    "--golden/--no-golden",
    default=True,
    show_default=True,
    help="Write golden vectors beside the file: 'edgeinfer selftest' replays them on the box.",
)
@click.option(
    "--report",
    "reports",
    type=PATH,
    multiple=True,
    help="Write the result here, too: JSON, or Markdown for .md. Repeatable.",
)
@format_option
def command(
    source: Path,
    output: Path,
    framework: str,
    entry: str | None,
    weights: Path | None,
    input_shapes: tuple[str, ...],
    input_size: str | None,
    trust_pickle: bool,
    precision: str,
    target: str,
    calibration: Path | None,
    calibration_method: str,
    validation: str | None,
    max_drop: str | None,
    task: str | None,
    head: str | None,
    labels: Path | None,
    spec: Path | None,
    embed_preprocess: bool,
    embed_nms: bool,
    golden: bool,
    reports: tuple[Path, ...],
    output_format: str,
) -> None:
    """Turn SOURCE into an ONNX file that carries its spec, and prove that it still works."""
    from edgeinfer.files import write_text
    from edgeinfer_export import ExportOptions
    from edgeinfer_export.commands import run_export
    from edgeinfer_export.paths import check_reports
    from edgeinfer_export.sweep import export_at, files_of, parse_sizes, sweep

    options = ExportOptions(
        precision=precision,
        target=target,
        calibration=calibration,
        calibration_method=calibration_method,
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
        embed_preprocess=embed_preprocess,
        embed_nms=embed_nms,
        golden=golden,
    )
    sizes = () if input_size is None else parse_sizes(input_size)
    plot = [output.with_suffix(".sweep.svg")] if len(sizes) > 1 else []
    check_reports(reports, source, [*files_of(output, sizes, precision), *plot], options)
    made: Exported | Swept
    with _steps() as tell:
        if len(sizes) > 1:
            made = sweep(source, output, sizes, options, tell, _say)
        elif sizes:
            made = export_at(source, output, sizes[0], options, tell, _say)
        else:
            made = run_export(source, output, options, tell, _say)
    document = made.to_dict()
    for path in reports:
        write_text(path, _report(document, path))
    for note in made.notes:
        _say(note)
    if output_format == "json":
        print_json(document)
    else:
        print(_sweep_text(document) if len(sizes) > 1 else _text(document))


def _say(text: str) -> None:
    say(f"edgeinfer: {text}")


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


def _report(document: dict[str, Any], path: Path) -> str:
    """The report's text, as the ending of its name wants it."""
    if path.suffix.lower() in (".md", ".markdown"):
        from edgeinfer_export.report import markdown

        return markdown(document)
    import json

    return json.dumps(document, indent=2) + "\n"


def _text(document: dict[str, Any]) -> str:
    target = f", target {document['target']}" if document["target"] else ""
    lines = [f"wrote {document['output']} ({document['precision']}{target})"]
    rows: list[tuple[str, ...]] = [("", "before", "after")]
    rows += [
        (name.replace("_", " "), _count(item["before"]), _count(item["after"]))
        for name, item in document["graph"].items()
    ]
    before, after = document["metric"].get("before", {}), document["metric"].get("after", {})
    rows += [
        (name, f"{before[name]:.4f}", f"{after[name]:.4f}")
        for name in before
        if before[name] is not None and after.get(name) is not None
    ]
    lines.append(table(rows))
    lines += _parity_lines(document["parity"])
    lines += _kept_lines(document["float_reasons"])
    lines += _gate_lines(document["gate"], document["speed"])
    if document["golden"]:
        lines.append(f"golden vectors: {document['golden']} ('edgeinfer selftest' replays them)")
    return "\n".join(lines)


def _gate_lines(gate: dict[str, Any], speed: dict[str, Any]) -> list[str]:
    lines = []
    if gate:
        attempts = len(gate["attempts"])
        lines.append(
            f"{gate['metric']}: {gate['loss']:.2%} lost, {gate['allowed']:.2%} allowed "
            f"({attempts} attempt{'' if attempts == 1 else 's'} measured)"
        )
    if speed:
        told = ", ".join(f"{name} {ns / 1e6:.2f} ms" for name, ns in speed["p50_ns"].items())
        lines.append(f"frame latency on this box, {speed['threads']} thread(s), in turns: {told}")
    return lines


def _kept_lines(reasons: list[dict[str, Any]]) -> list[str]:
    """What was kept in float and why; of many layers the first few, the report has all."""
    blamed = [reason for reason in reasons if reason["why"] == "accuracy"]
    others = [reason for reason in reasons if reason["why"] != "accuracy"]
    lines = [_kept(reason) for reason in (*others, *blamed[:_MOST_BLAMED])]
    more = len(blamed) - _MOST_BLAMED
    if more > 0:
        lines.append(f"kept in float for accuracy: {more} more layers (--report names all)")
    return lines


def _kept(reason: dict[str, Any]) -> str:
    count = len(reason["nodes"])
    if reason["why"] == "head":
        return f"kept in float: {count} nodes of the head"
    if reason["why"] == "recurrent":
        return f"kept in float: {count} recurrent nodes"
    if reason["why"] == "overflow":
        return f"kept in float: {count} nodes whose numbers FP16 cannot hold"
    sqnr, gained = reason["sqnr_db"], reason["gained"]
    why = f"signal over noise {sqnr:.1f} dB" if sqnr is not None else "blamed"
    if gained is not None:
        why += f"; {gained:.0%} of the output's error goes with it"
    return f"kept in float for accuracy: {reason['layer']} and what follows it ({why})"


def _sweep_text(document: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("size", "precision", document["metric"], "latency p50", "file")]
    for point in document["points"]:
        height, width = point["size_hw"]
        accuracy, p50 = point["accuracy"], point["p50_ns"]
        rows.append(
            (
                f"{height}x{width}{' *' if point['frontier'] else ''}",
                point["precision"],
                "-" if accuracy is None else f"{accuracy:.4f}",
                "-" if p50 is None else f"{p50 / 1e6:.2f} ms",
                point["path"] or "none: the accuracy gate refused it",
            )
        )
    return "\n".join(
        [
            table(rows),
            f"* no other is both as good and as fast (on {document['provider']}, "
            f"{document['threads']} thread(s), in turns)",
            f"plot {document['plot']}",
        ]
    )


def _parity_lines(parity: dict[str, Any]) -> list[str]:
    """The worst output, and what became of the answers."""
    outputs = parity["outputs"]
    lines = []
    if outputs:
        # What is no number is the worst of all.
        worst = max(outputs, key=lambda name: (outputs[name]["max"] is None, outputs[name]["max"]))
        most, mean = outputs[worst]["max"], outputs[worst]["mean"]
        lines.append(
            f"parity: '{worst}' differs most, by {_share_text(most)} of its range "
            f"({_share_text(mean)} on average) from {parity['reference']}"
        )
    for key, text in (("agreement", "same answers"), ("embedded", "same with steps in the graph")):
        found = parity.get(key)
        if found is not None and found["share"] is not None:
            lines.append(
                f"{text}: {found['share']:.1%} of {found['answers']} on {found['pictures']} "
                f"pictures, {found['extra']} new"
            )
    return lines


def _share_text(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2g}"


def _count(value: int) -> str:
    return f"{value:,}"
