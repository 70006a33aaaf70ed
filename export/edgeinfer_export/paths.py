"""Refuse paths that would cost the user a file, before long work starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgeinfer.errors import UsageError
from edgeinfer.files import check_writable
from edgeinfer.golden import golden_path
from edgeinfer.resolve import sidecar_of
from edgeinfer_export.options import ExportOptions


def check_paths(source: Path, output: Path, options: ExportOptions) -> None:
    """Refuse an output that is no ONNX file, cannot be written, or is read by the export.

    Raises:
        UsageError: if it is named otherwise, or is one of the files that are read.
        SinkError: if it cannot be written.
    """
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"The output is named {output.name}; give it a name that ends in .onnx.")
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(
            f"The output {output} is the source itself: give it another name; the source stays "
            f"the reference."
        )
    if any(_same(output, path) for path in _read(source, options)):
        raise UsageError(f"The output {output} is read by this export: give it another name.")
    check_writable(output)


def check_reports(
    reports: Sequence[Path], source: Path, outputs: Sequence[Path], options: ExportOptions
) -> None:
    """Refuse reports that would be written over what an export reads, or writes besides.

    Args:
        outputs: the models that the export writes.

    Raises:
        UsageError: naming the report.
        SinkError: if it cannot be written.
    """
    read = _read(source, options)
    for number, path in enumerate(reports):
        if any(_same(path, item) for item in read):
            raise UsageError(f"{path} is read by this export; give --report another name.")
        folder = next((item for item in read if item.is_dir() and _inside(path, item)), None)
        if folder is not None and path.exists() and not _is_report(path):
            raise UsageError(
                f"{path} is a file of {folder}, which this export reads; give --report another "
                f"name."
            )
        if any(_same(path, item) or _belongs(path, item) for item in outputs):
            raise UsageError(
                f"{path} is what this export writes the model or its golden vectors into; give "
                f"--report another name."
            )
        if any(_same(path, other) for other in reports[:number]):
            raise UsageError(f"--report names {path} twice: one report each.")
        check_writable(path)


def _read(source: Path, options: ExportOptions) -> list[Path]:
    """Every file and folder that an export reads, as far as its options name them."""
    spec = options.spec if isinstance(options.spec, Path) else None
    data = None if options.validation is None else Path(options.validation)
    named = (source, sidecar_of(source), options.weights, options.calibration)
    return [path for path in (*named, options.labels, spec, data) if path and path.exists()]


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def _belongs(path: Path, model: Path) -> bool:
    """Whether a path is a file beside a model: its golden vectors, or weights too many for it."""
    beside = path.resolve().parent == model.resolve().parent
    weights = path.name.startswith(f"{model.name}.") and path.suffix == ".data"
    return beside and (weights or path.name == golden_path(model).name)


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _is_report(path: Path) -> bool:
    """Whether a file is the report of an earlier export, which a newer one may replace."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() in (".md", ".markdown"):
            return "\n## Provenance\n" in text or text.startswith("# Sizes and precisions\n")
        document = json.loads(text)
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and bool({"provenance", "points"} & document.keys())
