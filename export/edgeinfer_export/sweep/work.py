"""Export a model at other input sizes, and measure what that costs and brings."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.datasets import UserMetric, is_callable_name, open_dataset
from edgeinfer.errors import CheckFailed, UsageError
from edgeinfer.evaluate import Evaluation
from edgeinfer.files import check_writable
from edgeinfer_export.commands import Ready, prepare
from edgeinfer_export.options import ExportOptions
from edgeinfer_export.paths import check_paths
from edgeinfer_export.quantize.session import Session
from edgeinfer_export.result import Exported
from edgeinfer_export.sources import Request, SourceModel, open_source_model
from edgeinfer_export.steps.meaning import spec_of, tensor_spec
from edgeinfer_export.steps.resize import SizeHW, picture_of, resized, shape_for, sized_spec
from edgeinfer_export.steps.staging import publish_models, scratch, staged
from edgeinfer_export.sweep.points import (
    Point,
    Swept,
    files_of,
    frontier,
    plot_of,
    point_path,
    size_text,
)
from edgeinfer_export.sweep.timing import check_box, time_models

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
    check_paths(source, output, options)
    with scratch(output) as folder, staged(output.resolve()) as stage:
        work = _Work(source, options, folder, progress or _silent, say or _mute)
        ready = work.prepare(size_hw, options.precision, output, stage)
        publish_models([ready.files])
    return ready.exported


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
    (``.sweep.json``) and a plot (``.sweep.svg``). All of them appear at the end, or none: older
    ones at the same paths stay until then.

    Latency is measured on the provider that the target names, or on the CPU where this box has it
    not: the result says which, and why.

    Raises:
        UsageError: without validation data, or for a target that is another kind of processor.
        SpecError: if the graph cannot take one of the sizes.
        CheckFailed: if no size can be exported.
    """
    source, output = Path(source), Path(output)
    if options.validation is None:
        raise UsageError("A sweep over --input-size compares accuracy: give --validation DATA.")
    check_shown(options.validation)
    told = check_box(options.int8_target)
    if told is not None and say is not None:
        say(told)
    report, plot = (output.with_suffix(f".sweep.{ending}") for ending in ("json", "svg"))
    for path in (output, *files_of(output, sizes, options.precision)):
        check_paths(source, path, options)
    for path in (report, plot):
        check_writable(path)
    with scratch(output) as folder, ExitStack() as stages:
        work = _Work(source, options, folder, progress or _silent, say or _mute)
        # All sizes are tried before long work starts.
        for size in sizes:
            work.opened(size)
        points, models = work.points(sizes, output, stages)
        swept = work.measured(points, models, report, plot)
        texts = {plot: plot_of(swept), report: json.dumps(swept.to_dict(), indent=2) + "\n"}
        more = [_written(path.resolve(), text, stages) for path, text in texts.items()]
        publish_models([ready.files for ready in models.values()], more)
    return swept


def check_shown(validation: str) -> None:
    """Refuse a user's metric, which shows no frames that the sizes could be timed on.

    Raises:
        UsageError: if it is one.
    """
    if is_callable_name(validation) and isinstance(open_dataset(validation), UserMetric):
        raise UsageError(
            f"{validation} is a metric without samples, and a sweep over --input-size times the "
            f"sizes on samples: give labelled data, or a callable without parameters that gives "
            f"them; or export each size by itself."
        )


def _written(place: Path, text: str, stages: ExitStack) -> tuple[Path, Path]:
    """A text where it lies until it is published, and where it goes."""
    made = stages.enter_context(staged(place)) / place.name
    made.write_text(text, encoding="utf-8")
    return made, place


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

    def prepare(self, size: SizeHW, precision: str, output: Path, stage: Path) -> Ready:
        max_drop = None if precision == "fp32" else self._options.max_drop
        asked = dataclasses.replace(self._options, precision=precision, max_drop=max_drop)
        # A spec with all that overrides it in it.
        spec = sized_spec(self._spec, size)
        options = dataclasses.replace(asked, spec=spec, task=None, head=None, labels=None)
        request = Request(self._source, Path(tempfile.mkdtemp(dir=self._folder)))
        opened = self.opened(size)
        return prepare(request, output, opened, options, self._tell, stage, size, asked)

    def points(
        self, sizes: Sequence[SizeHW], output: Path, stages: ExitStack
    ) -> tuple[list[Point], dict[str, Ready]]:
        """Each size in each precision, and by name what can be published of them.

        Args:
            stages: what is closed once all of it was.
        """
        points: list[Point] = []
        models: dict[str, Ready] = {}
        for size in sizes:
            for precision in dict.fromkeys(("fp32", self._options.precision)):
                path = point_path(output, size, precision)
                self._tell(f"{size_text(size)} {precision}", len(points), 2 * len(sizes))
                point = Point(size, precision, path, None, None)
                stage = stages.enter_context(staged(path.resolve()))
                try:
                    ready = self.prepare(size, precision, path, stage)
                except CheckFailed as error:
                    points.append(dataclasses.replace(point, path=None, refused=str(error)))
                    continue
                models[point.name] = ready
                value = ready.exported.metric["after"].get(self._metric)
                sha256 = ready.exported.sha256
                points.append(dataclasses.replace(point, accuracy=value, sha256=sha256))
        return points, models

    def measured(
        self, points: Sequence[Point], models: Mapping[str, Ready], report: Path, plot: Path
    ) -> Swept:
        """The points with their latency, measured before the files are published.

        Raises:
            CheckFailed: if every size was refused.
        """
        if not models:
            raise CheckFailed(f"No size can be exported. {points[0].name}: {points[0].refused}")
        raced, where = time_models(models, self._options, self._folder)
        timed = [dataclasses.replace(one, p50_ns=raced.p50_ns.get(one.name)) for one in points]
        notes = [
            f"{name}: {note}" for name, ready in models.items() for note in ready.exported.notes
        ]
        return Swept(
            self._metric,
            frontier(timed),
            raced.threads,
            raced.provider,
            report,
            plot,
            notes=tuple(dict.fromkeys((*where, *notes))),
        )

    @property
    def _metric(self) -> str:
        return Evaluation(self._spec.task, 0, {}, "").headline


def _silent(step: str, done: int, total: int) -> None:
    """The progress of a caller who wants none."""


def _mute(text: str) -> None:
    """What is told to a caller who wants nothing told."""
