"""`edgeinfer demo`: the whole story on data that ships with the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli.options import PATH, format_option
from edgeinfer.cli.output import print_json, progress, say, table
from edgeinfer.errors import SinkError
from edgeinfer.records import dataclass

if TYPE_CHECKING:
    from edgeinfer.evaluate import Evaluation
    from edgeinfer_bench import Report

DATA = Path(__file__).resolve().parent / "demo_data"
_BENCH_FRAMES = 1000
# A difference this small in mean average precision is the noise of 120 pictures.
_TOLERATED_DROP = 0.02


@dataclass(frozen=True)
class Pair:
    """The detector and its INT8 variant, measured."""

    paths: Mapping[str, Path]
    metrics: Mapping[str, Evaluation]
    report: Report

    def p50_ns(self, name: str) -> int | None:
        """Median frame latency."""
        return {item.label: item.latency_ns["p50"] for item in self.report.results}[name]

    @property
    def better(self) -> str:
        """The faster of the two, where INT8 is not blind."""
        fp32, int8 = self.p50_ns("fp32") or 0, self.p50_ns("int8") or 0
        before, after = (self.metrics[name].metrics["map50_95"] for name in ("fp32", "int8"))
        return "int8" if int8 < fp32 and after >= before - _TOLERATED_DROP else "fp32"


@click.command(name="demo")
@click.option(
    "--out",
    type=PATH,
    default=Path("edgeinfer-demo"),
    show_default=True,
    help="Folder for the model, the report and the video.",
)
@format_option
def command(out: Path, output_format: str) -> None:
    """Quantize a small detector, measure both, run the faster one on a video, write a report.

    Everything it needs ships with the package: a detector of handwritten digits on a conveyor
    belt, pictures to calibrate and validate on, and a video.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"The folder {out} cannot be made: {error.strerror}.") from error
    say("1/4 quantizing the detector to INT8, with calibration")
    paths = {"fp32": DATA / "digits.onnx", "int8": out / "digits-int8.onnx"}
    _quantize(paths)
    say("2/4 measuring accuracy of both on the validation pictures")
    metrics = {name: _validate(path) for name, path in paths.items()}
    say("3/4 measuring latency of both, in turns, on the video's frames")
    report = _bench(paths, out)
    pair = Pair(paths, metrics, report)
    say(f"4/4 running the video through {pair.better}, the better of the two on this box")
    summary = _run(paths[pair.better], out)
    document = _document(pair, summary, out)
    if output_format == "json":
        print_json(document)
    else:
        print(_text(pair, summary, document))


def _quantize(paths: Mapping[str, Path]) -> None:
    from edgeinfer_export import export

    with progress("pictures", None) as show:
        export(
            paths["fp32"],
            paths["int8"],
            precision="int8",
            target=_target(),
            calibration=DATA / "calibration",
            progress=lambda step, done, total: show(done),
        )


def _target() -> str:
    """8-bit weights where this box adds them up exactly, 7-bit ones elsewhere."""
    from edgeinfer.machine import this_machine

    machine = this_machine()
    if machine.architecture in ("aarch64", "arm64"):
        return "arm"
    exact = {"avx512_vnni", "avx_vnni"} & set(machine.features)
    return "x86-vnni" if exact else "x86-any"


def _validate(path: Path) -> Evaluation:
    from edgeinfer.datasets import open_dataset
    from edgeinfer.evaluate import DETECTION_LIMIT, SCORE_FLOOR, evaluate
    from edgeinfer.model import LoadOptions, open_model

    # This very file is judged: a stored plan might run a variant of it.
    options = LoadOptions(
        score_threshold=SCORE_FLOOR, max_detections=DETECTION_LIMIT, use_plan=False
    )
    data = open_dataset(str(DATA / "validation"))
    with open_model(path, options) as model, progress(path.stem, len(data)) as show:
        return evaluate(model, data, progress=lambda done, total: show(done))


def _bench(paths: Mapping[str, Path], out: Path) -> Report:
    from edgeinfer_bench import BenchOptions, bench_many, write_report

    with progress("measuring", 100) as show:
        report = bench_many(
            list(paths.values()),
            str(DATA / "conveyor.mp4"),
            bench_options=BenchOptions(frames=_BENCH_FRAMES),
            operators=False,
            labels=list(paths),
            command="edgeinfer demo",
            progress=lambda share: show(round(100 * share)),
        )
    for ending in ("html", "md", "json"):
        write_report(report, out / f"report.{ending}")
    return report


def _run(path: Path, out: Path) -> dict[str, Any]:
    from edgeinfer.model import LoadOptions, open_model
    from edgeinfer.pipeline import Run, RunOptions
    from edgeinfer.sinks import JsonLines, open_sink

    options = LoadOptions(recording=True, use_plan=False)
    with _video() as source, open_model(path, options) as model:
        sinks = [
            open_sink(out / "conveyor-annotated.mp4", source.info),
            JsonLines(out / "conveyor.jsonl"),
        ]
        with progress("frames", source.info.frame_count) as show:
            run = Run(model, source, sinks, RunOptions(), lambda outcome: show(outcome.sequence))
            return run.run()


@contextmanager
def _video() -> Iterator[Any]:
    from edgeinfer.sources import open_source

    source = open_source(str(DATA / "conveyor.mp4"))
    try:
        yield source
    finally:
        source.close()


def _document(pair: Pair, summary: dict[str, Any], out: Path) -> dict[str, Any]:
    return {
        "schema": "edgeinfer.demo/1",
        "chosen": pair.better,
        "models": {
            name: {
                "path": str(pair.paths[name]),
                "size_bytes": pair.paths[name].stat().st_size,
                "metrics": dict(pair.metrics[name].metrics),
                "p50_ns": pair.p50_ns(name),
            }
            for name in pair.paths
        },
        "valid": pair.report.valid,
        "video": {"frames": summary["frames"], "fps": summary["fps"]},
        "files": {
            "report": str(out / "report.html"),
            "video": str(out / "conveyor-annotated.mp4"),
            "results": str(out / "conveyor.jsonl"),
        },
    }


def _text(pair: Pair, summary: dict[str, Any], document: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [
        ("", "size", "mAP@.5", "mAP@.5:.95", "latency p50", "p99", "frames/s")
    ]
    for result in pair.report.results:
        metrics = pair.metrics[result.label].metrics
        p50, p99 = (result.latency_ns[key] for key in ("p50", "p99"))
        rows.append(
            (
                f"{result.label}{' *' if result.label == pair.better else ''}",
                f"{document['models'][result.label]['size_bytes'] / 1024:.0f} KiB",
                f"{metrics['map50']:.3f}",
                f"{metrics['map50_95']:.3f}",
                *(f"{value / 1e6:.2f} ms" if value else "-" for value in (p50, p99)),
                f"{result.fps:.0f}",
            )
        )
    verdict = (
        "VALID" if pair.report.valid else "INVALID: " + "; ".join(pair.report.validity.reasons)
    )
    files = document["files"]
    return "\n".join(
        [
            table(rows),
            f"* the better of the two on this box; it ran the video of {summary['frames']} frames "
            f"at {summary['fps']:.0f} frames/s, decoding, drawing and writing included.",
            f"benchmark: {verdict}",
            "",
            f"report   {files['report']}",
            f"video    {files['video']}",
            f"results  {files['results']}",
        ]
    )
