"""Export a model at other input sizes, and measure what that costs and brings."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.errors import CheckFailed, UsageError
from edgeinfer.evaluate import Evaluation
from edgeinfer.files import check_writable, write_text
from edgeinfer.machine import this_machine
from edgeinfer.model import why_unfit
from edgeinfer_export.commands import check_paths, export_opened
from edgeinfer_export.gate.speed import race_files
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.result import Exported
from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.resize import SizeHW, picture_of, resized, shape_for, sized_spec
from edgeinfer_export.steps.staging import scratch
from edgeinfer_export.sweep.points import Point, Swept, frontier, plot_of, size_text

if TYPE_CHECKING:
    from edgeinfer.spec import ModelSpec

Progress = Callable[[str, int, int], None]


def export_at(
    source: Path,
    output: Path,
    size_hw: SizeHW,
    options: ExportOptions,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Exported:
    """Export a model at another input size.

    Raises:
        SpecError: if the graph cannot take that size. Others: see `commands.export`.
    """
    check_paths(source, output)
    with scratch(output) as folder:
        work = _Work(source, options, folder, progress or _silent, say or _mute)
        return work.export(size_hw, options.precision, output)


def sweep(
    source: str | Path,
    output: str | Path,
    sizes: Sequence[SizeHW],
    options: ExportOptions,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Swept:
    """Export a model at several sizes, in FP32 and in the precision asked for, and measure all.

    Files go beside `output`, with size and precision in their names, with a report
    (``.sweep.json``) and a plot (``.sweep.svg``).

    Raises:
        UsageError: without validation data, or if this box cannot run the target.
        SpecError: if the graph cannot take one of the sizes.
    """
    source, output = Path(source), Path(output)
    if options.validation is None:
        raise UsageError("A sweep over --input-size compares accuracy: give --validation DATA.")
    _check_box(options)
    report, plot = (output.with_suffix(f".sweep.{ending}") for ending in ("json", "svg"))
    check_paths(source, output)
    for path in (report, plot):
        check_writable(path)
    with scratch(output) as folder:
        work = _Work(source, options, folder, progress or _silent, say or _mute)
        # All sizes are tried before long work starts.
        for size in sizes:
            work.opened(size)
        points, metric, notes = work.measure(sizes, output)
    swept = Swept(metric, points[0], points[1], report, plot, notes)
    write_text(report, json.dumps(swept.to_dict(), indent=2) + "\n")
    write_text(plot, plot_of(swept))
    return swept


class _Work:
    """A source that is opened once and made again at every size."""

    def __init__(
        self,
        source: Path,
        options: ExportOptions,
        folder: Path,
        tell: Progress,
        say: Callable[[str], None],
    ) -> None:
        self._source, self._options, self._folder = source, options, folder
        self._tell, self._say = tell, say
        self._plain = self._open({})
        self._spec: ModelSpec = spec_of(self._plain, options)
        self._made: dict[SizeHW, SourceModel] = {}

    def _open(self, shapes: Mapping[str, tuple[int | str, ...]]) -> SourceModel:
        options = self._options
        folder = self._folder / f"source{len(list(self._folder.iterdir()))}"
        folder.mkdir()
        request = Request(
            path=self._source,
            folder=folder,
            weights=options.weights,
            entry=options.entry,
            input_shapes={**options.input_shapes, **shapes},
            trust_pickle=options.trust_pickle,
            say=self._say,
        )
        return open_source_model(request, options.framework)

    def opened(self, size: SizeHW) -> SourceModel:
        """The source at a size: from its framework where that makes another, else its graph."""
        if size not in self._made:
            self._made[size] = self._at(size)
        return self._made[size]

    def _at(self, size: SizeHW) -> SourceModel:
        name = picture_of(self._spec).name
        shape = shape_for(self._plain.model, self._spec, size)
        if self._plain.framework != "onnx":
            other = self._open({name: shape})
            value = next(item for item in other.model.graph.input if item.name == name)
            if tensor_spec(value).shape == shape:
                return other
        model = resized(self._plain.model, self._spec, size)
        path = self._folder / f"source-{size_text(size)}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        notes = self._plain.notes
        if self._plain.framework != "onnx":
            notes = (
                *notes,
                f"{self._plain.framework} was read at one size only; for {size_text(size)} its "
                f"graph was given another one, and parity is measured against that graph",
            )
        return dataclasses.replace(
            self._plain, model=model, path=path, reference=Session(path), notes=notes
        )

    def export(self, size: SizeHW, precision: str, output: Path) -> Exported:
        options = dataclasses.replace(
            self._options,
            precision=precision,
            # With all that overrides it in it.
            spec=sized_spec(self._spec, size),
            task=None,
            head=None,
            labels=None,
            max_drop=None if precision == "fp32" else self._options.max_drop,
        )
        request = Request(self._source, Path(tempfile.mkdtemp(dir=self._folder)))
        return export_opened(request, output, self.opened(size), options, self._tell, size)

    def measure(
        self, sizes: Sequence[SizeHW], output: Path
    ) -> tuple[tuple[tuple[Point, ...], int], str, tuple[str, ...]]:
        points: list[Point] = []
        notes: dict[str, None] = {}
        metric = Evaluation(self._spec.task, 0, {}, "").headline
        for size in sizes:
            for precision in dict.fromkeys(("fp32", self._options.precision)):
                path = output.with_name(f"{output.stem}-{size_text(size)}-{precision}.onnx")
                self._tell(f"{size_text(size)} {precision}", len(points), 2 * len(sizes))
                point = Point(size, precision, path, None, None)
                try:
                    done = self.export(size, precision, path)
                except CheckFailed as error:
                    points.append(dataclasses.replace(point, path=None, refused=str(error)))
                    continue
                notes.update((f"{point.name}: {note}", None) for note in done.notes)
                value = done.metric["after"].get(metric)
                points.append(dataclasses.replace(point, accuracy=value))
        files = {one.name: one.path for one in points if one.path is not None}
        raced = race_files(files, self._options.validation or "")
        timed = [dataclasses.replace(one, p50_ns=raced.p50_ns.get(one.name)) for one in points]
        return (frontier(timed), raced.threads), metric, tuple(notes)


def _check_box(options: ExportOptions) -> None:
    target = options.target if options.precision.startswith("int8") else None
    why = why_unfit(target, "cpu", this_machine())
    if why is not None:
        raise UsageError(
            f"A sweep measures latency on this box, which --target {target} does not fit: {why}."
        )


def _silent(step: str, done: int, total: int) -> None:
    """The progress of a caller who wants none."""


def _mute(text: str) -> None:
    """What is told to a caller who wants nothing told."""
