"""One row per frame, for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from edgeinfer.timing import STAGES
from edgeinfer_bench.recorder import Samples
from edgeinfer_bench.report import Report

_COLUMNS = ("at", "latency", "age", *STAGES)


def csv_text(report: Report) -> str:
    """Rows of result, process (from 1), phase (``warmup`` or ``measured``), stream, frame and
    nanoseconds; empty: did not happen, or there are no streams.

    ``at_ns`` is when work on the frame began, from when its process began to measure.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = (f"{name}_ns" for name in _COLUMNS)
    writer.writerow(["result", "process", "phase", "stream", "frame", *names])
    for result in report.results:
        for process, each in enumerate(result.replicates, 1):
            who = (result.label, process)
            writer.writerows(_rows((*who, "warmup"), each.warmup_samples_ns, ()))
            writer.writerows(_rows((*who, "measured"), each.samples_ns, each.streams))
    return file.getvalue()


def _rows(
    who: tuple[object, ...], samples: Samples, streams: Sequence[int]
) -> Iterator[tuple[object, ...]]:
    count = len(samples.get("latency", ()))
    missing = (None,) * count
    columns = [samples.get(name, missing) for name in _COLUMNS]
    rows = zip(streams or missing, range(count), *columns, strict=True)
    return (who + row for row in rows)
