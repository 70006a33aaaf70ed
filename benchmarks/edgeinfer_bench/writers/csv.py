"""One row per frame, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from edgeinfer.timing import STAGES
from edgeinfer_bench.recorder import Samples
from edgeinfer_bench.report import Report

_COLUMNS = ("latency", "age", *STAGES)


def csv_text(report: Report) -> str:
    """Rows of result, phase (``warmup`` or ``measured``), frame and nanoseconds; empty: did not
    happen."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["result", "phase", "frame", *(f"{name}_ns" for name in _COLUMNS)])
    for result in report.results:
        writer.writerows(_rows(result.label, "warmup", result.warmup_samples_ns))
        writer.writerows(_rows(result.label, "measured", result.samples_ns))
    return file.getvalue()


def _rows(label: str, phase: str, samples: Samples) -> Iterator[list[object]]:
    count = len(samples.get("latency", ()))
    missing = (None,) * count
    columns = [samples.get(name, missing) for name in _COLUMNS]
    for index, values in enumerate(zip(*columns, strict=True)):
        yield [label, phase, index, *values]
